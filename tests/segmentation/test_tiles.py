from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from deeplab_lightning import Segmenter, load
from deeplab_lightning.segmentation.pictures import Picture
from deeplab_lightning.segmentation.segmenter import Method
from deeplab_lightning.segmentation.tiles import Span, Tiling, blend, needed_margin, plan
from tests.segmentation.models import describe_small, write_checkpoint


@pytest.mark.parametrize("size", [(700, 300), (256, 900), (513, 641)])
def test_blocks_cover_the_image_once_and_mix_neighbours(size: tuple[int, int]) -> None:
    tiling = Tiling(side=256, margin=32, seam=64)
    values = torch.rand(2, *size)
    covered, whole = torch.zeros(size), torch.zeros(2, *size)

    def scores_of(rows: Span, columns: Span) -> Tensor:
        tile = values[:, slice(*rows), slice(*columns)].clone()
        assert max(tile.shape) <= 256
        for side, length, (start, end) in ((1, size[0], rows), (2, size[1], columns)):
            tile.narrow(side, 0, 32 if start else 0).fill_(1e9)  # context, which must not be used
            tile.narrow(side, tile.shape[side] - 32, 32 if end < length else 0).fill_(1e9)
        return tile

    for rows, columns, scores in blend(size, tiling, scores_of):
        covered[slice(*rows), slice(*columns)] += 1
        whole[:, slice(*rows), slice(*columns)] = scores
    assert (covered == 1).all()
    torch.testing.assert_close(whole, values)


def test_one_tile_fades_into_the_next() -> None:
    tiling = Tiling(side=256, margin=32, seam=64)
    row = torch.cat([scores[0, 0] for _, _, scores in blend((10, 384), tiling, constant_by_start)])
    assert (row[:160] == 0).all()
    assert (row[224:] == 128).all()
    assert (row[160:224].diff() > 0).all()


def constant_by_start(rows: Span, columns: Span) -> Tensor:
    return torch.full((1, rows[1] - rows[0], columns[1] - columns[0]), float(columns[0]))


def test_tiles_are_planned_only_where_they_are_needed() -> None:
    assert plan("auto", (1000, 1000), 64, align_corners=False) is None
    assert plan(None, (10_000, 10_000), 64, align_corners=False) is None
    assert plan(512, (512, 400), 64, align_corners=False) is None
    tiling = plan("auto", (10_000, 10_000), 96, align_corners=False)
    assert tiling is not None
    assert (tiling.side, tiling.margin) == (1024, 96)
    corners = plan(512, (600, 600), 96, align_corners=True)
    assert corners is not None
    assert (corners.side % 32, corners.step % 32) == (1, 0)
    for needed, margin in ((None, 64), (500, 160)):
        capped = plan(512, (600, 600), needed, align_corners=False)
        assert capped is not None
        assert capped.margin == margin
    wide = plan("auto", (10_000, 10_000), 416, align_corners=False)
    assert wide is not None
    assert (wide.side, wide.margin) == (1408, 416)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({}, None),
        ({"align_corners": True, "size": (1025, 2049)}, None),
        ({"needed": None}, "image-level"),
        ({"needed": 300}, "margin of 320"),
        ({"scales": (0.5,), "needed": 150}, "margin of 320"),
        ({"scales": (0.75, 1.0)}, "scaled"),
        ({"size": (1024, 2049)}, "multiples of 32"),
        ({"align_corners": True}, "multiples of 32 plus 1"),
    ],
)
def test_a_tiling_knows_why_scores_may_differ(changes: dict[str, Any], cause: str | None) -> None:
    settings: dict[str, Any] = {"size": (1024, 2048), "needed": 64, "align_corners": False}
    tiling = plan(512, **settings | changes)
    assert tiling is not None
    assert (tiling.difference is None) == (cause is None)
    assert (cause or "") in (tiling.difference or "")


def test_tiled_scores_are_those_of_the_whole_image(segmenter: Segmenter) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (800, 832, 3), np.uint8)
    tiling = Tiling(side=768, margin=320, seam=64)
    assert segmenter.margin is not None
    assert segmenter.margin <= tiling.margin
    how = Method(tile=None)
    whole = segmenter.scores([Picture(pixels, "whole")], how)[0]
    tiled = torch.empty_like(whole)

    def scores_of(rows: Span, columns: Span) -> Tensor:
        return segmenter.scores([Picture(pixels[slice(*rows), slice(*columns)], "tile")], how)[0]

    for rows, columns, scores in blend((800, 832), tiling, scores_of):
        tiled[:, slice(*rows), slice(*columns)] = scores
    assert whole.std() > 0.1
    assert (tiled - whole).abs().max() <= 1e-4 * whole.abs().max()


def test_image_level_features_have_no_margin() -> None:
    arguments = {"num_classes": 3, "backbone": "mobilenet_v2", "aspp_channels": 8}
    assert needed_margin("DeepLabV3", arguments) is None
    assert needed_margin("DeepLabV3", {**arguments, "image_pooling": False, "atrous_rates": [1]}) is not None


def test_a_tiled_result_says_where_it_differs(segmenter: Segmenter) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (280, 300, 3), np.uint8)
    tiled, whole = segmenter.segment(pixels, tile=256), segmenter.segment(pixels, tile=None)
    assert tiled.probabilities is not None
    assert tiled.probabilities.dtype == np.float16
    np.testing.assert_allclose(tiled.probabilities.sum(0, dtype=float), 1, atol=5e-3)
    assert "margin of 64" in tiled.remarks[-1]
    assert not whole.remarks
    assert (tiled.mask == whole.mask).mean() > 0.9


def test_tiles_are_not_padded(segmenter: Segmenter, tmp_path: Path) -> None:
    """The last tiles are smaller than the size that small images are padded to."""
    pixels = np.random.default_rng(3).integers(0, 256, (288, 320, 3), np.uint8)
    padding = load(write_checkpoint(tmp_path / "model.ckpt", describe_small(pad_to=(256, 256))), device="cpu")
    assert (padding.segment(pixels[:200, :200]).mask != segmenter.segment(pixels[:200, :200]).mask).any()
    np.testing.assert_array_equal(padding.segment(pixels, tile=256).mask, segmenter.segment(pixels, tile=256).mask)
