import numpy as np
import pytest
import torch
from numpy.random import default_rng
from PIL import Image

from deeplab_lightning.datasets.transforms import EvaluationTransform, TrainTransform

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def picture(height: int = 40, width: int = 60) -> tuple[Image.Image, Image.Image]:
    """An image whose red channel is 10 times its mask, in blocks of 10 pixels."""
    blocks = np.arange(24).reshape(4, 6) % 8
    mask = np.kron(blocks, np.ones((height // 4, width // 6))).astype(np.uint8)
    image = np.stack([mask * 10, mask * 0 + 100, mask * 0], -1).astype(np.uint8)
    return Image.fromarray(image), Image.fromarray(mask)


def train_transform(**changes: object) -> TrainTransform:
    arguments = {
        "crop_size": (30, 30), "scale_range": (0.5, 2.0), "flip": True, "color_jitter": 0.0, "mean": MEAN, "std": STD
    }  # fmt: skip
    return TrainTransform(**(arguments | changes))  # type: ignore[arg-type]


def test_image_and_mask_move_together() -> None:
    transform = train_transform(scale_range=(1.0, 1.0))
    for seed in range(20):
        image, mask = transform(*picture(), default_rng(seed))
        red = transform.denormalize(image)[..., 0]
        assert torch.equal(red.long(), mask * 10)


def test_scaled_image_and_mask_stay_aligned() -> None:
    """Away from block edges the resampled colours still tell the label."""
    transform = train_transform(crop_size=(48, 48))
    agreement = []
    for seed in range(20):
        image, mask = transform(*picture(), default_rng(seed))
        valid = mask != 255
        red = transform.denormalize(image)[..., 0].float()
        agreement.append(((red - mask * 10).abs() < 4)[valid].float().mean().item())
    assert min(agreement) > 0.6
    assert np.mean(agreement) > 0.75


def test_padding_is_mean_and_void_at_the_right_and_bottom() -> None:
    image, mask = train_transform(crop_size=(64, 80), scale_range=(1.0, 1.0))(*picture(), default_rng(0))
    assert (mask[40:] == 255).all()
    assert (mask[:, 60:] == 255).all()
    assert not (mask[:40, :60] == 255).any()
    assert not image[:, 40:].any()
    assert not image[:, :, 60:].any()


def test_scales_cover_the_range() -> None:
    """How many mask pixels are left in a crop larger than any scaled image tells the scale."""
    transform = train_transform(crop_size=(100, 130), scale_range=(0.5, 2.0))
    areas = [int((transform(*picture(), default_rng(seed))[1] != 255).sum()) for seed in range(200)]
    scales = np.sqrt(np.array(areas) / 2400)
    assert 0.49 < scales.min() < 0.56
    assert 1.9 < scales.max() < 2.01
    assert abs(scales.mean() - 1.25) < 0.1


def test_the_generator_decides_everything() -> None:
    transform = train_transform(color_jitter=0.4)
    first, again, other = (transform(*picture(), default_rng(seed)) for seed in (3, 3, 4))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_colour_jitter_leaves_the_mask_alone() -> None:
    plain, jittered = (
        train_transform(scale_range=(1.0, 1.0), flip=False, crop_size=(40, 60), color_jitter=jitter)(
            *picture(), default_rng(1)
        )
        for jitter in (0.0, 0.5)
    )
    assert torch.equal(plain[1], jittered[1])
    assert not torch.equal(plain[0], jittered[0])


def test_evaluation_keeps_every_pixel_and_comes_back_exactly() -> None:
    values = default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    transform = EvaluationTransform(MEAN, STD)
    image, mask = transform(Image.fromarray(values), Image.new("L", (53, 37), 5), default_rng(0))
    assert image.shape == (3, 37, 53)
    assert mask.dtype == torch.int64
    assert np.array_equal(transform.denormalize(image).numpy(), values)
    assert image[1, 0, 0].item() == pytest.approx((values[0, 0, 1] / 255 - 0.5) / 0.25, abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_size": (0, 5)}, "crop_size"),
        ({"scale_range": (2.0, 1.0)}, "scale_range"),
        ({"color_jitter": 1.0}, "color_jitter"),
    ],
)
def test_settings_that_cannot_work(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_transform(**changes)
