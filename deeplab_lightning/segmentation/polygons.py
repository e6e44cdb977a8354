"""Label maps as COCO annotations: polygons along the borders of pixels, or run lengths where a region has holes."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.int64]
"""Corners (N, 2) of a closed line as x, y in pixels' corners."""


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
    rings = list(_rings(region))
    if len(rings) == 1:
        return [(rings[0] + np.array(corner)[::-1]).ravel().tolist()]
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


def _rings(region: NDArray[np.bool_]) -> Iterator[Ring]:
    """Follow the borders of a region (H, W); yield the corners of the outer one and of those of the holes.

    A border is followed with the region on the right. Where two pixels touch at a corner only, it turns right and stays
    at its pixel, because the region is connected by edges.
    """
    following = _edges(region)
    while following:
        first = next(iter(following))
        point, direction, ring = first, (0, 0), []
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
        yield np.array(ring[goes_straight_on:])


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
