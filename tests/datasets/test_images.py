"""Reading of images and masks; every error names the file in one sentence."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.datasets import images as module
from deeplab_lightning.datasets.images import DataError, load, read_mask, size_of
from deeplab_lightning.palette import VOC_COLORS


def save_mask(path: Path, values: np.ndarray, mode: str = "P") -> Path:
    mask = Image.fromarray(values.astype(np.uint8))
    if mode == "P":
        mask = mask.convert("P")
        mask.putpalette(VOC_COLORS.ravel().tolist())
    mask.save(path)
    return path


def test_palette_and_grey_masks_give_indices(tmp_path: Path) -> None:
    values = np.array([[0, 1, 2], [255, 2, 0]])
    for mode in ("P", "L"):
        read = read_mask(save_mask(tmp_path / f"{mode}.png", values, mode), 3)
        assert np.array_equal(np.asarray(read), values)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing.jpg: no such file"):
        load(tmp_path / "nothing.jpg")
    with pytest.raises(DataError, match=f"{tmp_path}: it is a folder"):
        load(tmp_path)


@pytest.mark.parametrize("keep", [0, 20, 0.5])
def test_truncated_jpeg(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "cut.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if keep < 1 else int(keep)])
    with pytest.raises(DataError, match=r"cut\.jpg: cannot be read as an image"):
        load(path)


def test_value_outside_the_classes(tmp_path: Path) -> None:
    path = save_mask(tmp_path / "mask.png", np.array([[0, 1], [37, 255]]))
    with pytest.raises(DataError, match=r"mask\.png: mask value 37 .*0 to 2, and 255"):
        read_mask(path, 3)


def test_colour_masks_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3)).save(tmp_path / "rgb.png")
    with pytest.raises(DataError, match=r"rgb\.png: the mask is in mode RGB, .*palette PNG"):
        read_mask(tmp_path / "rgb.png", 3)


def test_a_program_is_never_started_for_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would hand an EPS to Ghostscript, whatever the file is called."""
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("a program was started"))
    path = tmp_path / "image.jpg"
    Image.new("RGB", (8, 6)).save(path, "EPS")
    with pytest.raises(DataError, match=r"image\.jpg: cannot be read .*JPEG, PNG, "):
        load(path)


@pytest.mark.parametrize("format_name", ["WEBP", "BMP", "GIF", "PNG"])
def test_the_content_tells_the_format(tmp_path: Path, format_name: str) -> None:
    Image.new("RGB", (8, 6), (0, 0, 0)).save(tmp_path / "image.jpg", format_name)
    assert load(tmp_path / "image.jpg").size == size_of(tmp_path / "image.jpg") == (8, 6)


@pytest.mark.parametrize("size", [(13000, 13000), (12000, 11500), (65000, 65000)])  # Pillow warns twice and raises
def test_an_image_with_too_many_pixels_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "image.png"
    Image.new("L", (1, 1)).save(path)
    content = path.read_bytes()
    header = b"IHDR" + size[0].to_bytes(4, "big") + size[1].to_bytes(4, "big") + content[24:29]
    path.write_bytes(content[:12] + header + zlib.crc32(header).to_bytes(4, "big") + content[33:])
    for read in (load, size_of):
        with pytest.raises(DataError, match=r"image\.png: .*pixels"):
            read(path)


def test_the_largest_allowed_image_is_accepted(tmp_path: Path) -> None:
    Image.new("1", (8192, 8192)).save(tmp_path / "image.png")
    assert size_of(tmp_path / "image.png") == (8192, 8192)


def test_only_one_module_opens_images() -> None:
    package = Path(module.__file__).parents[1]
    opening = [path.name for path in package.rglob("*.py") if "Image.open(" in path.read_text()]
    assert opening == ["images.py"]
