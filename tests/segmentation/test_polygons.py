from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deeplab_lightning.segmentation.polygons import coco_annotations


@pytest.mark.parametrize("factor", [1, 3])
@pytest.mark.parametrize("seed", range(6))
def test_drawn_annotations_are_the_mask(seed: int, factor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deeplab_lightning.segmentation.polygons.ROWS_AT_ONCE", 3)
    rng = np.random.default_rng(seed)
    mask = np.kron(rng.choice([0, 1, 2, 255], rng.integers(1, 20, 2)), np.ones((factor, factor))).astype(np.uint8)
    drawn = np.full(mask.shape, 255, np.uint8)
    for annotation in coco_annotations(mask):
        pixels = rasterize(annotation, mask.shape)
        assert pixels.sum() == annotation["area"]
        assert (drawn[pixels] == 255).all()
        drawn[pixels] = annotation["category_id"]
    np.testing.assert_array_equal(drawn, mask)


def test_a_polygon_has_corners_only_and_a_hole_becomes_run_lengths() -> None:
    mask = np.ones((4, 5), np.uint8)
    (square,) = coco_annotations(mask)
    assert square["segmentation"] == [[0, 0, 5, 0, 5, 4, 0, 4]]
    assert square["bbox"] == [0, 0, 5, 4]
    mask[1:3, 2:4] = 2
    ring, hole = coco_annotations(mask)
    assert ring["segmentation"] == {"size": [4, 5], "counts": [0, 9, 2, 2, 2, 5]}
    assert hole["segmentation"] == [[2, 1, 4, 1, 4, 3, 2, 3]]


def test_pycocotools_draws_the_same() -> None:
    masks = pytest.importorskip("pycocotools.mask")
    mask = np.random.default_rng(0).integers(0, 2, (12, 9)).astype(np.uint8)
    for annotation in coco_annotations(mask):
        segmentation = annotation["segmentation"]
        if isinstance(segmentation, dict):
            theirs = masks.decode(masks.frPyObjects(segmentation, *segmentation["size"]))
            np.testing.assert_array_equal(theirs.astype(bool), rasterize(annotation, (12, 9)))


def rasterize(annotation: dict[str, Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels (H, W) of an annotation in an image of a size (H, W)."""
    segmentation = annotation["segmentation"]
    if isinstance(segmentation, dict):
        ends = np.cumsum(segmentation["counts"])
        flat = np.zeros(size[0] * size[1], bool)
        for start, end in zip(ends[:-1:2], ends[1::2], strict=False):
            flat[start:end] = True
        return flat.reshape(size[1], size[0]).T
    edges = np.zeros((size[0], size[1] + 1), np.int64)
    for polygon in segmentation:
        corners = np.array(polygon, np.int64).reshape(-1, 2)
        for (x, y0), (next_x, y1) in zip(corners, np.roll(corners, -1, 0), strict=True):
            if x == next_x:  # each vertical edge toggles the pixels to its right
                edges[min(y0, y1) : max(y0, y1), x] += 1
    inside: NDArray[np.bool_] = np.cumsum(edges, 1)[:, :-1] % 2 == 1
    return inside
