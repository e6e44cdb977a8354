"""Reading of TIFFs: all channels, bits and pages arrive, or the file is refused by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from deeplab_lightning.datasets import tiff
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.tiff import is_tiff, read_pages

BANDS = np.random.default_rng(0).integers(0, 4096, (7, 9, 4)).astype(np.uint16)
CONTIGUOUS: dict[str, Any] = {"photometric": "minisblack", "planarconfig": "contig"}
WRITTEN: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "pixel by pixel": (BANDS, CONTIGUOUS),
    "band by band": (BANDS.transpose(2, 0, 1), {"photometric": "minisblack", "planarconfig": "separate"}),
    "RGB and an unspecified fourth": (BANDS, {"photometric": "rgb", "extrasamples": ["unspecified"]}),
    "deflate, predictor, tiles": (BANDS, {**CONTIGUOUS, "compression": "zlib", "predictor": True, "tile": (16, 16)}),
    "BigTIFF, big endian": (BANDS, {**CONTIGUOUS, "bigtiff": True, "byteorder": ">"}),
    "channels of ImageJ": (BANDS.transpose(2, 0, 1), {"imagej": True, "metadata": {"axes": "CYX"}}),
}


def write(path: Path, values: np.ndarray, **settings: Any) -> Path:
    tifffile.imwrite(path, np.ascontiguousarray(values), **settings)
    return path


@pytest.mark.parametrize("kind", WRITTEN)
def test_every_layout_of_four_16_bit_channels_is_read_exactly(tmp_path: Path, kind: str) -> None:
    values, settings = WRITTEN[kind]
    (page,) = read_pages(write(tmp_path / "a.tif", values, **settings))
    assert page.values.dtype == np.uint16
    assert np.array_equal(page.values, BANDS)
    assert not page.has_alpha


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32, np.float64, np.bool_])
def test_every_type_is_read_exactly(tmp_path: Path, kind: type) -> None:
    values: np.ndarray = (BANDS[..., 0] - 2000.0 if kind is not np.bool_ else BANDS[..., 0] > 2000).astype(kind)
    (page,) = read_pages(write(tmp_path / "a.tif", values))
    assert page.values.shape == (7, 9, 1)
    assert np.array_equal(page.values[..., 0], values)


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_values_are_those_stored_whichever_is_white(tmp_path: Path, photometric: str) -> None:
    (page,) = read_pages(write(tmp_path / "a.tif", BANDS[..., 0], photometric=photometric))
    assert np.array_equal(page.values[..., 0], BANDS[..., 0])
    assert page.white_is_zero == (photometric == "miniswhite")


def test_pages_are_kept_apart_and_thumbnails_left_out(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for number in range(3):
            file.write(BANDS[..., number], metadata=None)
        file.write(BANDS[::2, ::2, 0], subfiletype=1, metadata=None)
    pages = read_pages(tmp_path / "a.tif")
    assert len(pages) == 3
    assert all(np.array_equal(page.values[..., 0], BANDS[..., number]) for number, page in enumerate(pages))


def test_transparency_is_told_from_a_fourth_band(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", BANDS.astype(np.uint8), photometric="rgb", extrasamples=["unassalpha"])
    assert read_pages(path)[0].has_alpha


IN_PILLOW: dict[str, Callable[[], Image.Image]] = {
    "grey": lambda: Image.fromarray(BANDS[..., 0].astype(np.uint8)),
    "RGB": lambda: Image.fromarray(BANDS[..., :3].astype(np.uint8)),
    "RGBA": lambda: Image.fromarray(BANDS.astype(np.uint8)),
    "16-bit grey": lambda: Image.fromarray(BANDS[..., 0]),
    "float grey": lambda: Image.fromarray(BANDS[..., 0].astype(np.float32)),
}


@pytest.mark.parametrize("kind", IN_PILLOW)
def test_pillow_reads_lzw_where_it_is_right(tmp_path: Path, kind: str) -> None:
    picture = IN_PILLOW[kind]()
    picture.save(tmp_path / "a.tif", compression="tiff_lzw")
    (page,) = read_pages(tmp_path / "a.tif")
    assert np.array_equal(page.values.squeeze(), np.asarray(picture))
    assert page.has_alpha == (kind == "RGBA")


def test_a_palette_gives_its_colours(tmp_path: Path) -> None:
    picture = Image.fromarray(BANDS[..., :3].astype(np.uint8)).quantize(16)
    picture.save(tmp_path / "a.tif")
    assert np.array_equal(read_pages(tmp_path / "a.tif")[0].values, np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("bands", [1, 3, 4])
def test_what_pillow_would_read_wrongly_is_refused_by_its_compression(tmp_path: Path, bands: int) -> None:
    """The tag says LZW, which neither library needs to decode to know that Pillow would lose bits or channels."""
    values = BANDS[..., :bands] if bands > 1 else BANDS.astype(np.uint32)[..., 0]
    path = write(tmp_path / "a.tif", values, **({"photometric": "rgb"} if bands > 2 else {}), metadata=None)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["Compression"].overwrite(5)  # type: ignore[union-attr]
    with pytest.raises(DataError, match=r"a\.tif: .*LZW.*imagecodecs"):
        read_pages(path)


@pytest.mark.parametrize("keep", [4, 8, 60, 0.4, 0.9])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, keep: float) -> None:
    path = write(tmp_path / "a.tif", np.tile(BANDS, (20, 20, 1)), **CONTIGUOUS)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if keep < 1 else int(keep)])
    with pytest.raises(DataError, match=r"a\.tif: cannot be read as a TIFF"):
        read_pages(path)


def test_a_file_of_too_many_pixels_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.tif", BANDS)
    monkeypatch.setattr(tiff, "MAX_PIXELS", 62)
    with pytest.raises(DataError, match=r"a\.tif: .*9x7 pixels.*62"):
        read_pages(path)
    monkeypatch.setattr(tiff, "MAX_PIXELS", 63)
    monkeypatch.setattr(tiff, "MAX_BYTES", 8 * 63 - 1)
    with pytest.raises(DataError, match=r"a\.tif: .*GiB"):
        read_pages(path)


def test_the_content_tells_a_tiff(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.tif", "PNG")
    assert not is_tiff(tmp_path / "a.tif")
    assert not is_tiff(tmp_path / "nothing.tif")
    assert is_tiff(write(tmp_path / "b.png", BANDS))
    with pytest.raises(DataError, match=r"nothing\.tif: no such file"):
        read_pages(tmp_path / "nothing.tif")


@pytest.mark.parametrize("is_big", [False, True])
def test_pages_that_refer_back_are_refused(tmp_path: Path, is_big: bool) -> None:
    path = tmp_path / "circle.tif"
    tifffile.imwrite(path, np.zeros((3, 4, 5), np.uint8), photometric="minisblack", bigtiff=is_big, metadata=None)
    assert len(read_pages(path)) == 3
    with tifffile.TiffFile(path) as file:
        first, last = file.pages[0].offset, file.pages[2].offset
    content = bytearray(path.read_bytes())
    counted, pointer, tag = (8, 8, 20) if is_big else (2, 4, 12)
    behind_tags = last + counted + tag * int.from_bytes(content[last : last + counted], "little")
    content[behind_tags : behind_tags + pointer] = first.to_bytes(pointer, "little")
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"circle\.tif: .*refers back"):
        read_pages(path)
