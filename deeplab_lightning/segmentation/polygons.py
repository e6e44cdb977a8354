"""Label maps as COCO annotations: polygons along the borders of pixels, or run lengths where a region has holes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS_AT_ONCE = 1024
"""Rows of a region that are searched for holes at once, which bounds the memory."""


def coco_annotations(mask: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """Return one annotation for each connected region (by edges) of a label map; void, 255, has none.

    Args:
        mask: Label map (H, W).
    """
    from scipy import ndimage

    annotations: list[dict[str, Any]] = []
    for category in np.unique(mask):
        if category == 255:
            continue
        regions, _ = ndimage.label(mask == category)
        for index, box in enumerate(ndimage.find_objects(regions), 1):
            region = regions[box] == index
            top, left = box[0].start, box[1].start
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 1,
                    "category_id": int(category),
                    "area": int(region.sum()),
                    "bbox": [left, top, region.shape[1], region.shape[0]],
                    "iscrowd": 0,
                    "segmentation": _segmentation(region, (top, left), (mask.shape[0], mask.shape[1])),
                }
            )
    return annotations


def coco_file(mask: NDArray[np.uint8], class_names: Sequence[str], name: str) -> dict[str, Any]:
    """Return a whole COCO file with one image.

    Args:
        mask: Label map (H, W).
        class_names: Names of the classes, whose indices are the categories.
        name: Name of the image's file.
    """
    height, width = mask.shape
    return {
        "images": [{"id": 1, "file_name": name, "width": width, "height": height}],
        "categories": [{"id": index, "name": each} for index, each in enumerate(class_names)],
        "annotations": coco_annotations(mask),
    }


def _segmentation(region: NDArray[np.bool_], corner: tuple[int, int], size: tuple[int, int]) -> Any:
    if not _has_holes(region):
        return [(_outline(region) + np.array(corner)[::-1]).ravel().tolist()]
    (height, width), (top, left) = size, corner
    columns = np.zeros((region.shape[1], height), bool)  # COCO counts down the columns
    columns[:, top : top + region.shape[0]] = region.T
    flat = columns.ravel()
    ends = np.concatenate((np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]))
    counts = np.diff(ends, prepend=0).tolist()
    if flat[0]:
        counts.insert(0, 0)
    counts[0] += left * height
    after = (width - left - region.shape[1]) * height
    if flat[-1] and after:
        counts.append(after)
    else:
        counts[-1] += after
    return {"size": list(size), "counts": counts}


def _has_holes(region: NDArray[np.bool_]) -> bool:
    """Whether a region, connected by edges, has holes, connected by corners too: its Euler number is not 1.

    The number follows from the squares of 2x2 pixels that hold one pixel of the region, three, or two across a corner
    (Gray, "Local Properties of Binary Images in Two Dimensions", IEEE Transactions on Computers 1971).
    """
    padded = np.pad(region, 1)
    four_times = 0
    for top in range(0, len(padded) - 1, ROWS_AT_ONCE):
        band = padded[top : top + ROWS_AT_ONCE + 1].view(np.uint8)
        pixels = band[:-1, :-1] + band[:-1, 1:] + band[1:, :-1] + band[1:, 1:]
        across = (pixels == 2) & (band[:-1, :-1] == band[1:, 1:])
        four_times += int((pixels == 1).sum()) - int((pixels == 3).sum()) + 2 * int(across.sum())
    return four_times != 4


def _outline(region: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the corners (N, 2), as x, y, of the border of a region (H, W) without holes.

    The border is followed with the region on the right. Where two pixels touch at a corner only, it turns right and
    stays at its pixel, because the region is connected by edges.
    """
    following = _edges(region)
    point, direction, ring = next(iter(following)), (0, 0), []
    while point in following:
        ends = following[point]
        right = (point[0] - direction[1], point[1] + direction[0])
        end = right if right in ends else ends[0]
        ends.remove(end)
        if not ends:
            del following[point]
        before, direction = direction, (end[0] - point[0], end[1] - point[1])
        if direction != before:
            ring.append(point)
        point = end
    goes_straight_on = (ring[1][0] - ring[0][0]) * direction[1] == (ring[1][1] - ring[0][1]) * direction[0]
    return np.array(ring[goes_straight_on:])


def _edges(region: NDArray[np.bool_]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Return where the sides of pixels on the border of a region (H, W) lead to, by where they begin (x, y)."""
    padded = np.pad(region, 1).astype(np.int8)
    following: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for entered, (dx, dy) in ((np.diff(padded, axis=0)[:, 1:-1], (1, 0)), (np.diff(padded, axis=1)[1:-1], (0, 1))):
        for y, x in np.argwhere(entered).tolist():
            start, end = (x, y), (x + dx, y + dy)
            if (entered[y, x] > 0) == bool(dy):  # upwards at a left side, to the left at a lower side
                start, end = end, start
            following.setdefault(start, []).append(end)
    return following
