"""Bands of all widths, before and after the CRF."""

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from deeplab_lightning.callbacks.trimap_evaluation import TrimapEvaluation
from deeplab_lightning.crf.refinement import RefinedImage
from deeplab_lightning.metrics import TrimapBands, mean_iou, pixel_accuracy
from tests.callbacks.evaluated import EvaluatedModule, evaluate, trainer_in


def scene(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A target with a void line, a bad prediction and a better one, each (H, W)."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.zeros(40, 60, dtype=torch.int64)
    target[:, 20:] = 1 + seed % 2
    target[:, 19] = 255
    bad, good = target.clone(), target.clone()
    noise = torch.rand(2, 40, 60, generator=generator)
    bad[(noise[0] < 0.4) | (target == 255)] = 0
    good[(noise[1] < 0.1) | (target == 255)] = 1
    return target, bad, good


class LateRefiner:
    """Gives the good prediction of each scene once the next one is asked for."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def __call__(self, images: Any, logits: Tensor, image_ids: list[int]) -> list[RefinedImage]:
        """The refinement to come of a scene."""
        self.finish(len(self.futures) - 1)
        self.futures.append(Future())
        return [RefinedImage(self.futures[-1])]

    def finish(self, seed: int) -> None:
        """Give the prediction of a scene."""
        if seed >= 0:
            self.futures[seed].set_result((scene(seed)[2].byte().numpy(), 0.1))


def scored(callback: TrimapEvaluation, folder: Path, with_crf: bool = False, fn: str = "validate") -> EvaluatedModule:
    module: Any = EvaluatedModule(trainer_in(folder, fn), ["background", "a", "b"])
    module.refiner = LateRefiner() if with_crf else None

    def steps() -> Any:
        for seed in range(3):
            target, bad, _ = scene(seed)
            logits = nn.functional.one_hot(bad, 3).permute(2, 0, 1)[None].float()
            yield logits, {"mask": target[None], "image": torch.zeros(1, 3, 40, 60), "image_id": [seed]}
        if with_crf:
            module.refiner.finish(2)

    evaluate([callback], module, steps())
    return module  # type: ignore[no-any-return]


def test_every_width_is_scored_before_and_after_the_crf(tmp_path: Path) -> None:
    module = scored(TrimapEvaluation(max_width=12), tmp_path, with_crf=True)
    plain, refined = TrimapBands(3, 12), TrimapBands(3, 12)
    for target, bad, good in map(scene, range(3)):
        plain.update(bad[None], target[None])
        refined.update(good[None], target[None])
    for suffix, bands in (("", plain), ("_crf", refined)):
        for width, matrix in enumerate(bands.compute(), 1):
            assert module.logged[f"val/trimap_accuracy{suffix}/{width}"] == pixel_accuracy(matrix)
            if width != 3:  # logged with the scores of the whole split
                assert module.logged[f"val/trimap_miou{suffix}/{width}"] == mean_iou(matrix)
    assert len(module.logged) == 2 * (12 + 11)
    assert module.logged["val/trimap_miou_crf/1"] > module.logged["val/trimap_miou/1"] + 0.1
    with Image.open(tmp_path / "panels" / "val" / "trimap.png") as curve:
        assert len(set(curve.convert("RGB").get_flattened_data())) > 10


def test_without_a_crf_there_is_one_curve(tmp_path: Path) -> None:
    module = scored(TrimapEvaluation(max_width=2), tmp_path)
    assert set(module.logged) == {f"val/trimap_{kind}/{width}" for kind in ("miou", "accuracy") for width in (1, 2)}


def test_it_stays_out_of_a_training_run_unless_asked(tmp_path: Path) -> None:
    assert not scored(TrimapEvaluation(), tmp_path, fn="fit").logged
    assert scored(TrimapEvaluation(during_fit=True), tmp_path, fn="fit").logged


def test_an_invalid_width_is_refused() -> None:
    with pytest.raises(ValueError, match="got 300"):
        TrimapEvaluation(max_width=300)
