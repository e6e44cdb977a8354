"""TIFF files: any number of channels, 8 bits, 16 bits or floating point, one page or several."""

import logging
import math
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplab_lightning.datasets.images import MAX_PIXELS, DataError, load, record_opening

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of a TIFF and of a BigTIFF, in either byte order."""
MAX_BYTES = 1 << 32
"""Largest size of the decoded pages of a file: 4 GiB."""
MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, CMYK = 0, 1, 2, 3, 5
ORIENTATION = 274

logging.getLogger("tifffile").addFilter(lambda _: False)  # it logs faults that it survives, without the file's name


@dataclass(frozen=True)
class TiffPage:
    """The pixels of one page.

    Args:
        values: Values (H, W, C) in the type in which the file stores them.
        has_alpha: The last channel is transparency.
        orientation: Orientation of the stored pixels, as in EXIF; 1 means upright.
        white_is_zero: The largest value is black.
    """

    values: NDArray[Any]
    has_alpha: bool = False
    orientation: int = 1
    white_is_zero: bool = False


class _UndecodedError(Exception):
    """tifffile cannot turn a page into pixels."""


def is_tiff(path: Path) -> bool:
    """Whether the content of a file begins like a TIFF; False for a file that cannot be opened."""
    try:
        with path.open("rb") as file:
            return file.read(4) in SIGNATURES
    except OSError:
        return False


def read_pages(path: Path, indices: bool = False) -> list[TiffPage]:
    """The pages of a TIFF, without thumbnails and masks of transparency.

    tifffile reads them. Some compressions (LZW, JPEG, WebP and others) need the package imagecodecs. Without it, Pillow
    reads the pages that it reads right: a single page of 8-bit grey, RGB, RGBA, CMYK or a palette, or of 16-bit or
    float grey. (It would lose the low byte of 16-bit RGB, a fourth channel, and all pages but the first.)

    Args:
        path: Path of the file.
        indices: A page with a palette gives its indices in place of its colours, as masks need it.

    Raises:
        DataError: The file is damaged or too large, or cannot be read without imagecodecs.
    """
    from tifffile import TiffFile

    with _faults(path), TiffFile(path) as file:
        kept = [series for series in file.series if not (series.keyframe.is_reduced or series.keyframe.is_mask)]
        series = kept or file.series
        _check_size(series, path)
        try:
            return _in_order([(each, list(_pages(each, indices))) for each in series])
        except _UndecodedError as cause:
            keyframe = series[0].keyframe
            if len(series) > 1 or len(series[0]) > 1 or not _pillow_is_right(keyframe):
                raise DataError(
                    f"its compression {_name(keyframe.compression)} needs the package imagecodecs for "
                    f"{_described(keyframe)}; install it, or save the file with deflate or without compression",
                    path,
                ) from cause
            return [_page_by_pillow(path, keyframe, indices)]


def num_pixels(path: Path) -> int:
    """The number of pixels of all pages of a TIFF, from its header.

    Raises:
        DataError: The file is missing, damaged or too large.
    """
    from tifffile import TiffFile

    with _faults(path), TiffFile(path) as file:
        _check_size(file.series, path)
        sides = [dict(zip(each.axes, each.shape, strict=True)) for each in file.series]
        return sum(math.prod(length for axis, length in each.items() if axis not in "SC") for each in sides)


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    """Within the block, turn errors into faults of a file."""
    record_opening(path)
    try:
        _refuse_circle(path)
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError("no such file", path) from error
    except Exception as error:  # damaged tags raise many kinds of error
        raise DataError(f"cannot be read as a TIFF ({error or type(error).__name__})", path) from error


def _refuse_circle(path: Path) -> None:
    """Refuse a file with a page that refers back to an earlier one, on which tifffile may loop forever."""
    with path.open("rb") as file:
        order, is_big = "<" if file.read(1) == b"I" else ">", file.read(3).strip(b"IM\0") == b"+"
        count, offset, tag_size = ("Q", "Q", 20) if is_big else ("H", "I", 12)

        def number(kind: str) -> int:
            content = file.read(struct.calcsize(order + kind))
            return int(struct.unpack(order + kind, content)[0]) if len(content) == struct.calcsize(order + kind) else 0

        file.seek(8 if is_big else 4)
        seen = set[int]()
        while page := number(offset):
            if page in seen:
                raise DataError("cannot be read as a TIFF (one of its pages refers back to an earlier one)", path)
            seen.add(page)
            file.seek(page)
            file.seek(number(count) * tag_size, os.SEEK_CUR)


def _check_size(series: list[Any], path: Path) -> None:
    """Refuse a file before it is decoded, which would take more memory than there may be."""
    if not series:
        raise DataError("cannot be read as a TIFF (it has no page)", path)
    for each in series:
        sides = dict(zip(each.axes, each.shape, strict=True))
        width, height = sides.get("X", 0), sides.get("Y", 0)
        if not 0 < width * height <= MAX_PIXELS:
            raise DataError(
                f"it has {width}x{height} pixels, but 1 to {MAX_PIXELS} are accepted; cut it into tiles or make it "
                "smaller",
                path,
            )
    if (size := sum(math.prod(each.shape) * each.dtype.itemsize for each in series)) > MAX_BYTES:
        raise DataError(f"its pages take {size / 2**30:.1f} GiB, more than {MAX_BYTES >> 30} GiB; cut it up", path)


def _in_order(found: list[tuple[Any, list[TiffPage]]]) -> list[TiffPage]:
    """The pages of several series, which are in the order of the file where tifffile has put equal ones together."""
    if all(series.kind == "generic" and len(series.pages) == len(pages) for series, pages in found):
        numbered = [pair for series, pages in found for pair in zip(series.pages, pages, strict=True)]
        return [page for _, page in sorted(numbered, key=lambda pair: int(pair[0].index))]
    return [page for _, pages in found for page in pages]


def _pages(series: Any, indices: bool) -> Iterator[TiffPage]:
    """The pages of a series of equal ones; its axis C holds channels, and all but Y, X, S and C count pages."""
    keyframe = series.keyframe
    plain = (MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE) if indices else (MIN_IS_WHITE, MIN_IS_BLACK, RGB)
    if keyframe.photometric not in plain or series.dtype.kind not in "buif":
        raise _UndecodedError
    try:
        stored = series.asarray()
    except ValueError as error:
        if "imagecodecs" in str(error):
            raise _UndecodedError from error
        raise
    axes = list(series.axes)
    channels = [axis for axis in axes if axis in "CS"]
    order = [axis for axis in axes if axis not in "YXCS"] + ["Y", "X", *channels]
    values = stored.transpose([axes.index(axis) for axis in order])
    height, width = series.shape[axes.index("Y")], series.shape[axes.index("X")]
    depth = math.prod(series.shape[axes.index(axis)] for axis in channels)
    for page in values.reshape(-1, height, width, depth):
        yield TiffPage(
            page.astype(page.dtype.newbyteorder("="), copy=False),
            has_alpha=_has_alpha(keyframe),
            orientation=_orientation(keyframe),
            white_is_zero=keyframe.photometric == MIN_IS_WHITE,
        )


def _pillow_is_right(keyframe: Any) -> bool:
    if keyframe.samplesperpixel == 1:
        return keyframe.bitspersample <= 8 or keyframe.dtype in (np.uint16, np.int16, np.float32)
    colours = 4 if keyframe.photometric == CMYK else 3
    plain = keyframe.samplesperpixel == colours or (keyframe.samplesperpixel == 4 and _has_alpha(keyframe))
    return bool(keyframe.bitspersample == 8 and plain)


def _page_by_pillow(path: Path, keyframe: Any, indices: bool) -> TiffPage:
    image = load(path, ("TIFF",))
    if image.mode in ("CMYK", "YCbCr") or (image.mode == "P" and not indices):
        image = image.convert("RGB")
    values = np.asarray(image)
    return TiffPage(np.atleast_3d(values), _has_alpha(keyframe), _orientation(keyframe))


def _has_alpha(keyframe: Any) -> bool:
    return bool(keyframe.extrasamples) and keyframe.extrasamples[-1] in (1, 2)  # associated and not


def _orientation(keyframe: Any) -> int:
    tag = keyframe.tags.get(ORIENTATION)
    return 1 if tag is None else int(tag.value)


def _name(value: Any) -> str:
    return str(getattr(value, "name", value))


def _described(keyframe: Any) -> str:
    depth = "float" if keyframe.dtype is not None and keyframe.dtype.kind == "f" else f"{keyframe.bitspersample}-bit"
    count = keyframe.samplesperpixel
    return f"{depth} values of {count} channel{'' if count == 1 else 's'}"
