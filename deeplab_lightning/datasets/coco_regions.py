"""The pixels of one COCO annotation, from polygons or a run-length code.

pycocotools trusts its input, and its memory grows with the length of an outline. So types and bounds are checked here
first.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.extras import require

Region = NDArray[np.bool_]
MAX_OUTLINE = 250_000
"""Longest outline and largest coordinate of one annotation, in pixels; COCO's outlines have thousands."""


def draw(segmentation: Any, height: int, width: int) -> Region:
    """The pixels that a segmentation covers, (H, W).

    Args:
        segmentation: List of polygons, or run-length code with "size" and "counts", compressed or not.
        height: Height of the image.
        width: Width of the image.

    Raises:
        DataError: The segmentation is neither of these, or does not fit the image. The error names no file.
    """
    if isinstance(segmentation, list) and segmentation:
        outline = sum(_outline(polygon) for polygon in segmentation)
        if outline > MAX_OUTLINE:
            raise DataError(f"has an outline of {outline:.0f} pixels; at most {MAX_OUTLINE} are accepted")
        return _fill(segmentation, height, width)
    if not isinstance(segmentation, dict):
        raise DataError("has neither polygons nor a run-length code")
    if segmentation.get("size") != [height, width]:
        raise DataError(f"has size {segmentation.get('size')!r}, but the image has size {[height, width]}")
    runs = _checked_runs(segmentation.get("counts"), height * width)
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def _fill(polygons: list[list[float]], height: int, width: int) -> Region:
    require("coco", "drawing COCO's polygons")
    from pycocotools import mask as coco_mask

    codes = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    region: Region = coco_mask.decode(codes).astype(bool)
    return region


def _outline(polygon: Any) -> float:
    """The length of a polygon's outline in pixels."""
    if not isinstance(polygon, list) or any(type(number) not in (int, float) for number in polygon):
        raise DataError("has a polygon that is not a list of numbers")
    if len(polygon) < 6 or len(polygon) % 2:
        raise DataError(f"has a polygon of {len(polygon)} numbers; at least three points of two numbers are expected")
    for number in polygon:
        if not -MAX_OUTLINE <= number <= MAX_OUTLINE:  # also refuses NaN
            raise DataError(f"has a polygon with the coordinate {number}")
    points = np.array(polygon, float).reshape(-1, 2)
    return float(np.abs(np.diff(points, axis=0, append=points[:1])).max(1).sum())


def _checked_runs(counts: Any, num_pixels: int) -> list[int]:
    """The run lengths of a code: background first, pixels counted down the columns."""
    runs = _decompressed(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(type(run) is int and run >= 0 for run in runs):
        raise DataError("has a damaged run-length code")
    if sum(runs) != num_pixels:
        raise DataError(f"has a run-length code of {sum(runs)} pixels, but the image has {num_pixels}")
    return runs


def _decompressed(code: str) -> list[int] | None:
    """The run lengths of a compressed code, or None where the code is damaged.

    A character holds five bits of a number, lowest bits first. Its sixth bit says whether more characters follow. The
    fifth bit of a number's last character is the sign. The first three numbers are run lengths; each later number is
    the difference between its run length and the one two places before.
    """
    runs: list[int] = []
    number = shift = 0
    for value in (ord(character) - 48 for character in code):
        if not 0 <= value < 64 or shift > 60:
            return None
        number |= (value & 31) << shift
        shift += 5
        if not value & 32:
            number -= (value & 16) << (shift - 4)
            runs.append(number + (runs[-2] if len(runs) > 2 else 0))
            number = shift = 0
    return None if shift else runs
