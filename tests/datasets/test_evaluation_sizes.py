"""Images and labels are resized as Pillow does, and as the projects do whose scores are measured again."""

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.datasets.evaluation_sizes import EVALUATION_SIZES, EvaluationSizeName, Resizing


def picture(height: int, width: int) -> tuple[np.ndarray, Image.Image]:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    return image, Image.fromarray(rng.integers(0, 21, (height, width), np.uint8))


@pytest.mark.parametrize(
    ("name", "size"),  # VOC's image of 500x375 under torchvision's resize, and under VainF's and jfzhang95's crops
    [("short_side_520", (520, 693)), ("centre_crop_513", (513, 513))],
)
def test_published_sizes(name: EvaluationSizeName, size: tuple[int, int]) -> None:
    resizing = EVALUATION_SIZES[name].resizing
    assert resizing is not None
    image, mask = resizing(*picture(375, 500))
    assert image.shape == (*size, 3)
    assert mask.size == size[::-1]


@pytest.mark.parametrize("side", [20, 90])
def test_pixels_are_those_of_pillow(side: int) -> None:
    """At smaller and larger sizes."""
    image, mask = picture(40, 61)
    resized, labels = Resizing(side)(image, mask)
    width = int(side * 61 / 40)
    expected = np.asarray(Image.fromarray(image).resize((width, side), Image.Resampling.BILINEAR))
    assert np.abs(resized.astype(int) - expected).max() <= 1
    assert np.array_equal(np.asarray(labels), np.asarray(mask.resize((width, side), Image.Resampling.NEAREST)))


def test_the_centre_is_cut_out() -> None:
    image, mask = picture(40, 61)
    whole, cropped = Resizing(40)(image, mask), Resizing(40, crop=40)(image, mask)
    left = round((61 - 40) / 2)
    assert np.array_equal(cropped[0], whole[0][:, left : left + 40])
    assert np.array_equal(np.asarray(cropped[1]), np.asarray(whole[1])[:, left : left + 40])


def test_deep_images_keep_their_range() -> None:
    image = np.full((20, 30, 4), 4095, np.float32)
    resized, _ = Resizing(10)(image, Image.new("L", (30, 20)))
    assert resized.shape == (10, 15, 4)
    np.testing.assert_allclose(resized, 4095, rtol=1e-6)
