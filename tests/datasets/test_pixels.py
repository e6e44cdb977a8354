"""Images as arrays: channels are those expected, deep values keep all bits, and their range is stated."""

import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.pixels import RGB, PixelFormat, read_pixels, read_pixels_of_mask

DEEP = np.random.default_rng(0).integers(0, 3072, (7, 9, 4)).astype(np.uint16)
SHALLOW = DEEP.astype(np.uint8)


def write_tiff(path: Path, values: np.ndarray) -> Path:
    tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig")
    return path


def write_deep_png(path: Path, values: np.ndarray) -> Path:
    """Write a 16-bit PNG of several channels, which Pillow cannot, with a filter of none for every row."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width, depth = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[depth], 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    return path


def test_deep_values_keep_every_bit(tmp_path: Path) -> None:
    values = read_pixels(write_tiff(tmp_path / "a.tif", DEEP), PixelFormat(4, (0, 4095)))
    assert values.dtype == np.float32
    assert np.array_equal(values, DEEP)
    Image.fromarray(DEEP[..., 0]).save(tmp_path / "grey.png")
    assert np.array_equal(read_pixels(tmp_path / "grey.png", PixelFormat(1, (0, 4095)))[..., 0], DEEP[..., 0])
    for depth in (3, 4):
        png = write_deep_png(tmp_path / f"{depth}.png", DEEP[..., :depth])
        assert np.array_equal(read_pixels(png, PixelFormat(depth, (0, 4095))), DEEP[..., :depth])
    assert np.array_equal(
        read_pixels(tmp_path / "4.png", PixelFormat(3, (0, 4095))), DEEP[..., :3]
    )  # without transparency


@pytest.mark.parametrize(
    ("values", "example"),
    [
        (DEEP, "[0, 4095]"),
        (DEEP // 16, "[0, 255]"),
        (DEEP.astype(np.int16) - 100, "[-4096, 4095]"),
        (DEEP / np.float32(4095), "[0, 1]"),
        (DEEP.astype(np.float32), f"[0, {DEEP.max()}]"),
    ],
)
def test_deep_values_need_a_stated_range(tmp_path: Path, values: np.ndarray, example: str) -> None:
    path = write_tiff(tmp_path / "a.tif", values)
    words = example.strip("[]").replace(",", "")  # as `deeplab segment` takes them
    both = rf"data\.value_range \"{re.escape(example)}\".*--value_range {words} "
    with pytest.raises(DataError, match=rf"a\.tif: .*{values.dtype}.*{values.max():g}.*{both}"):
        read_pixels(path, PixelFormat(4))


def test_shallow_values_stay_bytes(tmp_path: Path) -> None:
    values = read_pixels(write_tiff(tmp_path / "a.tif", SHALLOW), PixelFormat(4))
    assert values.dtype == np.uint8
    assert np.array_equal(values, SHALLOW)
    Image.fromarray(SHALLOW).save(tmp_path / "rgba.png")
    assert np.array_equal(read_pixels(tmp_path / "rgba.png", PixelFormat(4)), SHALLOW)
    assert np.array_equal(
        read_pixels(tmp_path / "rgba.png", PixelFormat(3)), SHALLOW[..., :3]
    )  # transparent pixels keep their colour


def test_another_number_of_channels_is_refused(tmp_path: Path) -> None:
    Image.fromarray(SHALLOW[..., :3]).save(tmp_path / "rgb.png")
    Image.fromarray(SHALLOW[..., 0]).save(tmp_path / "grey.png")
    write_tiff(tmp_path / "bands.tif", SHALLOW)
    cases = ("rgb.png", 3, 4), ("rgb.png", 3, 1), ("grey.png", 1, 4), ("bands.tif", 4, 3), ("bands.tif", 4, 5)
    for name, held, expected in cases:
        with pytest.raises(DataError, match=rf"{re.escape(name)}: it has {held} channel.*{expected}"):
            read_pixels(tmp_path / name, PixelFormat(expected))


def test_grey_is_repeated_for_three_channels(tmp_path: Path) -> None:
    Image.fromarray(SHALLOW[..., 0]).save(tmp_path / "grey.png")
    write_tiff(tmp_path / "grey.tif", DEEP[..., 0])
    assert np.array_equal(read_pixels(tmp_path / "grey.png"), np.repeat(SHALLOW[..., :1], 3, 2))
    assert np.array_equal(read_pixels(tmp_path / "grey.tif", PixelFormat(3, (0, 4095))), np.repeat(DEEP[..., :1], 3, 2))


def test_grey_pages_are_channels_if_they_are_as_many(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for number in range(4):
            file.write(DEEP[..., number], metadata=None)
    assert np.array_equal(read_pixels(tmp_path / "a.tif", PixelFormat(4, (0, 4095))), DEEP)
    with pytest.raises(DataError, match=r"a\.tif: it has 4 pages"):
        read_pixels(tmp_path / "a.tif", PixelFormat(3, (0, 4095)))


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    values = DEEP.astype(np.float32)
    values[2, 3, 1], values[0, 0, 0] = np.nan, np.inf
    with pytest.raises(DataError, match=r"a\.tif: 2 of its values"):
        read_pixels(write_tiff(tmp_path / "a.tif", values), PixelFormat(4, (0, 4095)))


def test_black_and_white_is_a_grey_image(tmp_path: Path) -> None:
    Image.fromarray(DEEP[..., 0] > 1000).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", DEEP[..., 0] <= 1000)  # tifffile stores truth as black
    for name in ("a.png", "a.tif"):
        assert np.array_equal(read_pixels(tmp_path / name, PixelFormat(1))[..., 0], 255 * (DEEP[..., 0] > 1000))


def test_the_brightest_value_is_the_largest(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", DEEP[..., 0], photometric="miniswhite")
    values = read_pixels(tmp_path / "a.tif", PixelFormat(1, (0, 65535)))
    assert np.array_equal(values[..., 0], 65535 - DEEP[..., 0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_like_in_pillow(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    for name in ("image.png", "image.tif"):
        Image.fromarray(SHALLOW[..., :3]).save(tmp_path / name, exif=exif)
        with Image.open(tmp_path / name) as image:
            expected = np.asarray(ImageOps.exif_transpose(image))
        assert np.array_equal(read_pixels(tmp_path / name), expected)


def test_sizes_that_differ(tmp_path: Path) -> None:
    Image.new("RGB", (5, 3)).save(tmp_path / "image.jpg")
    with pytest.raises(DataError, match=r"mask\.png: .*4x3.*image\.jpg is 5x3"):
        read_pixels_of_mask(tmp_path / "image.jpg", RGB, Image.new("L", (4, 3)), tmp_path / "mask.png")


def test_transparency_gives_no_warning(tmp_path: Path) -> None:
    """Pillow would warn, without naming the file, about a palette with partly transparent colours."""
    picture = Image.new("P", (4, 3), 1)
    picture.putpalette([0, 0, 0, 200, 100, 50])
    picture.save(tmp_path / "image.png", transparency=bytes([0, 128]))
    assert read_pixels(tmp_path / "image.png")[0, 0].tolist() == [200, 100, 50]


@pytest.mark.parametrize("settings", [{"num_channels": 0}, {"value_range": (5, 5)}, {"value_range": (1, 0)}])
def test_invalid_formats_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=re.escape(str(*settings.values()))):
        PixelFormat(**settings)


def test_a_jpeg_is_read_as_by_pillow(tmp_path: Path) -> None:
    Image.fromarray(SHALLOW[..., :3]).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        assert np.array_equal(read_pixels(tmp_path / "a.jpg"), np.asarray(image))


def test_a_damaged_deep_png_is_refused_by_name(tmp_path: Path) -> None:
    path = write_deep_png(tmp_path / "a.png", DEEP[..., :3])
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"a\.png: cannot be read as an image"):
        read_pixels(path, PixelFormat(3, (0, 4095)))
