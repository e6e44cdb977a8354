"""Bands of all widths, before and after the CRF."""

from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from deeplab_lightning.callbacks.trimap_evaluation import TrimapEvaluation
from deeplab_lightning.metrics import SegmentationScores, TrimapBands, mean_iou, pixel_accuracy


class FakeModule(nn.Module):
    """As much of a module as the callback uses."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.scores = SegmentationScores(["background", "a", "b"])
        self.logged: dict[str, float] = {}

    def log(self, name: str, value: float, **_: Any) -> None:
        assert name not in self.logged
        self.logged[name] = value


def trainer(folder: Path, fn: str = "validate") -> Any:
    return SimpleNamespace(
        sanity_checking=False, state=SimpleNamespace(fn=fn), log_dir=str(folder), is_global_zero=True
    )


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


def evaluate(callback: TrimapEvaluation, own_trainer: Any, with_crf: bool) -> FakeModule:
    module: Any = FakeModule()
    callback.setup(own_trainer, module, "validate")
    callback.on_validation_epoch_start(own_trainer, module)
    for seed in range(3):
        target, bad, good = scene(seed)
        outputs: dict[str, Any] = {"logits": nn.functional.one_hot(bad, 3).permute(2, 0, 1)[None].float()}
        if with_crf:
            outputs["crf"] = [Future()]
        callback.on_validation_batch_end(own_trainer, module, outputs, {"mask": target[None]}, seed)
        if with_crf:
            outputs["crf"][0].set_result((good.byte().numpy(), 0.1))
    callback.on_validation_epoch_end(own_trainer, module)
    return module  # type: ignore[no-any-return]


def test_every_width_is_scored_before_and_after_the_crf(tmp_path: Path) -> None:
    module = evaluate(TrimapEvaluation(max_width=12), trainer(tmp_path), with_crf=True)
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
    module = evaluate(TrimapEvaluation(max_width=2), trainer(tmp_path), with_crf=False)
    assert set(module.logged) == {f"val/trimap_{kind}/{width}" for kind in ("miou", "accuracy") for width in (1, 2)}


def test_it_stays_out_of_a_training_run_unless_asked(tmp_path: Path) -> None:
    assert not evaluate(TrimapEvaluation(), trainer(tmp_path, "fit"), with_crf=False).logged
    assert evaluate(TrimapEvaluation(during_fit=True), trainer(tmp_path, "fit"), with_crf=False).logged


def test_a_width_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="1 to 254 pixels, got 300"):
        TrimapEvaluation(max_width=300)
