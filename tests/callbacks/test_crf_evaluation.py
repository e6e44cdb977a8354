"""The callback in a hand-made evaluation loop: what it scores, and that it cleans up."""

import multiprocessing
import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from deeplab_lightning.callbacks.crf_evaluation import CRFEvaluation
from deeplab_lightning.crf import pool
from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.datasets.transforms import EvaluationTransform
from deeplab_lightning.metrics import SegmentationScores
from tests.patience import wait_until

TRANSFORM = EvaluationTransform((0.5,) * 3, (0.25,) * 3)


class FakeModule(nn.Module):
    """As much of a module as the callback uses."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.scores = SegmentationScores(["background", "object"])
        self.logged: dict[str, float] = {}

    def log(self, name: str, value: float, **_: Any) -> None:
        self.logged[name] = value


def trainer(fn: str = "validate") -> Any:
    return SimpleNamespace(
        sanity_checking=False,
        state=SimpleNamespace(fn=fn),
        num_devices=1,
        datamodule=SimpleNamespace(eval_transform=TRANSFORM),
    )


def batch(number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """One image with a bright half, and noisy logits that favour the right label."""
    generator = torch.Generator().manual_seed(number)
    mask = torch.zeros(1, 24, 32, dtype=torch.int64)
    mask[:, :, 16:] = 1
    pixels = np.where(mask[0, ..., None].numpy() == 1, 200, 60).repeat(3, -1).astype(np.uint8)
    image = (torch.from_numpy(pixels).permute(2, 0, 1).float() / 255 - 0.5) / 0.25
    score = (mask - 0.5) * 1.5 + torch.randn(mask.shape, generator=generator)
    return {"logits": torch.stack([-score, score], 1)}, {
        "image": image[None],
        "mask": mask,
        "image_id": [f"image {number}"],
    }


def evaluate(callback: CRFEvaluation, module: Any, number_of_batches: int = 5) -> list[dict[str, Any]]:
    callback.on_validation_epoch_start(trainer(), module)
    kept = []
    for number in range(number_of_batches):
        outputs, own = batch(number)
        module.scores.update(outputs["logits"].argmax(1), own["mask"])
        callback.on_validation_batch_end(trainer(), module, outputs, own, number)
        kept.append(outputs)
    callback.on_validation_epoch_end(trainer(), module)
    return kept


@pytest.mark.parametrize("engine", ["torch", "pydensecrf"])
def test_scores_are_those_of_the_crf_image_by_image(engine: Any) -> None:
    callback, module = CRFEvaluation(4, 20, 20, 1, 1, engine=engine), FakeModule()
    outputs = evaluate(callback, module)
    expected = SegmentationScores(["background", "object"], suffix="_crf")
    for number, kept in enumerate(outputs):
        _, own = batch(number)
        probabilities = kept["logits"].softmax(1)[0].numpy()
        prediction = callback.crf(TRANSFORM.denormalize(own["image"][0]).numpy(), probabilities).argmax(0)
        expected.update(torch.from_numpy(prediction)[None], own["mask"])
        assert np.array_equal(kept["crf"][0].result()[0], prediction)
    for name, value in expected.compute().items():
        assert module.logged[f"val/{name}"] == pytest.approx(value, nan_ok=True)  # no void here, so no trimap score
    assert module.logged["val/miou_crf"] > 0.95
    plain = module.scores.compute()["miou"]
    assert module.logged["val/miou_gain_crf"] == pytest.approx(module.logged["val/miou_crf"] - plain)
    assert module.logged["val/miou_gain_crf"] > 0.1
    assert module.logged["val/seconds_per_image_crf"] > 0
    wait_until(lambda: not multiprocessing.active_children())


def test_a_batch_of_images_is_refined_image_by_image() -> None:
    callback, module = CRFEvaluation(4, 20, 20, 1, 1), FakeModule()
    pairs = [batch(number) for number in range(3)]
    outputs = {"logits": torch.cat([outputs["logits"] for outputs, _ in pairs])}
    together = {key: torch.cat([own[key] for _, own in pairs]) for key in ("image", "mask")}
    module.scores.update(outputs["logits"].argmax(1), together["mask"])
    callback.on_validation_epoch_start(trainer(), module)  # type: ignore[arg-type]
    callback.on_validation_batch_end(trainer(), module, outputs, together | {"image_id": ["a", "b", "c"]}, 0)  # type: ignore[arg-type]
    callback.on_validation_epoch_end(trainer(), module)  # type: ignore[arg-type]
    alone = FakeModule()
    evaluate(CRFEvaluation(4, 20, 20, 1, 1), alone, 3)
    assert module.logged["val/miou_crf"] == alone.logged["val/miou_crf"]


def test_a_worker_that_dies_is_named_with_its_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "predict", die)
    callback = CRFEvaluation(engine="pydensecrf", num_workers=1)
    with pytest.raises(RuntimeError, match="a CRF worker process died at image image 0"):
        evaluate(callback, FakeModule())
    callback.on_exception(trainer(), FakeModule(), RuntimeError())  # type: ignore[arg-type]
    wait_until(lambda: not multiprocessing.active_children())


def die(*_: Any) -> None:
    os._exit(1)


def test_it_stays_out_of_a_training_run_unless_asked() -> None:
    callback, module = CRFEvaluation(), FakeModule()
    callback.on_validation_epoch_start(trainer("fit"), module)  # type: ignore[arg-type]
    outputs, own = batch(0)
    callback.on_validation_batch_end(trainer("fit"), module, outputs, own, 0)  # type: ignore[arg-type]
    callback.on_validation_epoch_end(trainer("fit"), module)  # type: ignore[arg-type]
    assert "crf" not in outputs
    assert not module.logged


def test_no_worker_outlives_a_failure() -> None:
    callback, module = CRFEvaluation(engine="pydensecrf", num_workers=2), FakeModule()
    callback.on_validation_epoch_start(trainer(), module)  # type: ignore[arg-type]
    outputs, own = batch(0)
    callback.on_validation_batch_end(trainer(), module, outputs, own, 0)  # type: ignore[arg-type]
    callback.on_exception(trainer(), module, KeyboardInterrupt())  # type: ignore[arg-type]
    wait_until(lambda: not multiprocessing.active_children())


def test_its_settings_are_those_of_the_crf() -> None:
    settings: dict[str, Any] = {"iterations": 3, "normalization": "symmetric", "min_probability": 0.1}
    assert CRFEvaluation(5, 50, 10, 2, 1, engine="torch", **settings).crf == DenseCRF(
        5, 50, 10, 2, 1, engine="torch", **settings
    )
    assert CRFEvaluation().crf == DenseCRF(normalization="after")


def test_workers_of_an_engine_without_any_are_refused() -> None:
    with pytest.raises(ValueError, match="num_workers 3 does nothing with engine 'auto'"):
        CRFEvaluation(num_workers=3)
