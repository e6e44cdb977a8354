import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_lightning import SegmentationResult, Segmenter

PIXELS = np.random.default_rng(0).integers(0, 256, (48, 70, 3), np.uint8)


@pytest.fixture(scope="module")
def result(segmenter: Segmenter) -> SegmentationResult:
    """The segmentation of noise."""
    return segmenter.segment(PIXELS)


def test_saved_files_hold_the_result(result: SegmentationResult, tmp_path: Path) -> None:
    out = tmp_path / "out"
    paths = {path.parent.name: path for path in result.save(out)}
    assert sorted(paths.values()) == sorted(path for path in out.rglob("*") if path.is_file())
    assert {path.stem for path in paths.values()} == {result.name}
    with Image.open(paths["masks"]) as mask:
        assert mask.mode == "P"
        np.testing.assert_array_equal(np.asarray(mask), result.mask)
        assert tuple(mask.getpalette()[3:6]) == result.palette.colors[1]  # type: ignore[index]
    np.testing.assert_array_equal(np.asarray(Image.open(paths["confidence"])), result.confidence)
    stored = np.load(paths["probabilities"])["probabilities"]
    assert stored.dtype == np.float16
    assert result.probabilities is not None
    np.testing.assert_allclose(stored, result.probabilities, atol=1e-3)
    with Image.open(paths["overlays"]) as overlaid:
        assert overlaid.size == result.overlay().size
    coco = json.loads(paths["polygons"].read_text())
    assert sum(each["area"] for each in coco["annotations"]) == 48 * 70 == sum(result.areas.values())
    assert [each["name"] for each in coco["categories"]] == list(result.palette.class_names)


def test_results_of_one_model_do_not_replace_each_other(segmenter: Segmenter, tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "1.png")
    images: list[Any] = [PIXELS, Image.fromarray(PIXELS), torch.from_numpy(PIXELS).permute(2, 0, 1)]
    results = [segmenter.segment(image) for image in images]
    results += segmenter.segment(images)
    paths = {path for result in results for path in result.save(tmp_path / "out")}
    assert len({path for path in paths if path.parent.name == "masks"}) == 6
    (mask, *_) = segmenter.segment(tmp_path / "1.png").save(tmp_path / "out", name="b/1")
    assert mask == tmp_path / "out" / "masks" / "b" / "1.png"
    assert mask.is_file()


def test_an_overlay_has_the_image_over_a_legend(result: SegmentationResult) -> None:
    drawn = np.asarray(result.overlay(opacity=0.0))
    assert drawn.shape[0] > 48
    background = result.mask == 0
    np.testing.assert_array_equal(drawn[:48, :70][background], PIXELS[background])


def test_a_large_overlay_is_drawn_in_parts(result: SegmentationResult) -> None:
    times = 30
    tall = SegmentationResult(
        mask=np.tile(result.mask, (times, 1)),
        confidence=None,
        probabilities=None,
        image=np.tile(result.image, (times, 1, 1)),
        palette=result.palette,
        name="tall",
    )
    drawn = np.asarray(tall.overlay())[: 48 * times, :70]
    from deeplab_lightning.drawing import overlay

    np.testing.assert_array_equal(drawn, overlay(tall.image, tall.mask, tall.palette))
