"""Each fault is one sentence that names the file."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.datasets.images import DataError, read_image, read_mask, read_pair
from deeplab_lightning.datasets.palette import PALETTE


def save_mask(path: Path, values: np.ndarray, mode: str = "P") -> Path:
    mask = Image.fromarray(values.astype(np.uint8))
    if mode == "P":
        mask = mask.convert("P")
        mask.putpalette(PALETTE.ravel().tolist())
    mask.save(path)
    return path


def test_palette_and_grey_masks_give_indices(tmp_path: Path) -> None:
    values = np.array([[0, 1, 2], [255, 2, 0]])
    for mode in ("P", "L"):
        read = read_mask(save_mask(tmp_path / f"{mode}.png", values, mode), 3)
        assert np.array_equal(np.asarray(read), values)


def test_images_become_rgb(tmp_path: Path) -> None:
    Image.new("L", (4, 3), 7).save(tmp_path / "grey.jpg")
    assert read_image(tmp_path / "grey.jpg").mode == "RGB"


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing.jpg: no such file"):
        read_image(tmp_path / "nothing.jpg")


@pytest.mark.parametrize("keep", [0, 20, 0.5])
def test_truncated_jpeg(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "cut.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if keep < 1 else int(keep)])
    with pytest.raises(DataError, match=r"cut\.jpg: cannot be read as an image"):
        read_image(path)


def test_value_outside_the_classes(tmp_path: Path) -> None:
    path = save_mask(tmp_path / "mask.png", np.array([[0, 1], [37, 255]]))
    with pytest.raises(
        DataError, match=r"mask\.png: mask value 37 is outside the 3 classes \(0 to 2, and 255 for void\)"
    ):
        read_mask(path, 3)


def test_colours_are_not_guessed_at(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3)).save(tmp_path / "rgb.png")
    with pytest.raises(DataError, match=r"rgb\.png: the mask is in mode RGB, .*palette PNG"):
        read_mask(tmp_path / "rgb.png", 3)


def test_sizes_that_differ(tmp_path: Path) -> None:
    Image.new("RGB", (5, 3)).save(tmp_path / "image.jpg")
    mask = save_mask(tmp_path / "mask.png", np.zeros((3, 4)))
    with pytest.raises(DataError, match=r"image\.jpg is 5x3, but its mask .*mask\.png is 4x3"):
        read_pair(tmp_path / "image.jpg", mask, 3)
