"""The callback in a minimal evaluation loop: its scores and its cleanup."""

import multiprocessing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from deeplab_lightning.callbacks import crf_evaluation
from deeplab_lightning.callbacks.crf_evaluation import CRFEvaluation
from deeplab_lightning.crf import pool
from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.metrics import SegmentationScores
from tests.callbacks.evaluated import TRANSFORM, EvaluatedModule, evaluate, noisy_halves, trainer_in
from tests.crf.test_pool import die
from tests.patience import wait_until

CRF: dict[str, Any] = {
    "bilateral_weight": 4, "bilateral_xy": 20, "bilateral_rgb": 20, "gaussian_weight": 1, "gaussian_xy": 1,
}  # fmt: skip
NAMES = ["background", "object"]


@pytest.mark.parametrize("engine", ["torch", "pydensecrf"])
def test_scores_are_those_of_the_crf_image_by_image(engine: Any, tmp_path: Path) -> None:
    callback, module = CRFEvaluation(**CRF, engine=engine), EvaluatedModule(trainer_in(tmp_path), NAMES)
    steps = [noisy_halves(number) for number in range(5)]
    outputs = evaluate([callback], module, steps)
    expected = SegmentationScores(NAMES)
    for kept, (logits, batch) in zip(outputs, steps, strict=True):
        image = TRANSFORM.denormalize(batch["image"][0]).numpy()
        prediction = torch.from_numpy(DenseCRF(**CRF, engine=engine)(image, logits.softmax(1)[0].numpy()).argmax(0))
        expected.update(prediction[None], batch["mask"])
        (refined,) = kept["refinement"]
        assert torch.equal(torch.from_numpy(refined.result()[0]), prediction)
    for name, value in expected.compute("val", refined=True).items():
        assert module.logged[str(name)] == pytest.approx(value, nan_ok=True)  # no void here, so no trimap score
    assert module.logged["val/miou_crf"] > 0.95
    plain = {str(name): value for name, value in module.scores.compute("val").items()}["val/miou"]
    assert module.logged["val/miou_gain_crf"] == pytest.approx(module.logged["val/miou_crf"] - plain)
    assert module.logged["val/miou_gain_crf"] > 0.1
    assert module.logged["val/seconds_per_image_crf"] > 0
    assert module.refiner is None
    wait_until(lambda: not multiprocessing.active_children())


@pytest.mark.parametrize(
    ("devices", "environment", "expected"),
    [(1, LightningEnvironment, 12), (4, LightningEnvironment, 3), (4, TorchElasticEnvironment, 12)],
)
def test_processes_that_share_the_processors_divide_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices: int, environment: type, expected: int
) -> None:
    """Those of torchrun are counted already."""
    seen: list[int] = []
    monkeypatch.setenv("LOCAL_RANK", "0")  # as Lightning sets it for the processes that it has started
    monkeypatch.setattr(crf_evaluation, "count_processors", lambda: 12)
    monkeypatch.setattr(crf_evaluation, "Refiner", lambda crf, num_workers: seen.append(num_workers))
    trainer = trainer_in(tmp_path)
    trainer.num_devices = devices
    trainer.strategy = SimpleNamespace(cluster_environment=environment())
    module: Any = EvaluatedModule(trainer, NAMES)
    CRFEvaluation(**CRF).start(module, "val")
    assert seen == [expected]


def test_a_batch_of_images_is_refined_image_by_image(tmp_path: Path) -> None:
    steps = [noisy_halves(number) for number in range(3)]
    batch: dict[str, Any] = {key: torch.cat([own[key] for _, own in steps]) for key in ("image", "mask")}
    batch["image_id"] = ["a", "b", "c"]
    together, alone = (EvaluatedModule(trainer_in(tmp_path), NAMES) for _ in range(2))
    evaluate([CRFEvaluation(**CRF)], together, [(torch.cat([logits for logits, _ in steps]), batch)])
    evaluate([CRFEvaluation(**CRF)], alone, steps)
    assert together.logged["val/miou_crf"] == alone.logged["val/miou_crf"]


def test_a_worker_that_dies_is_named_with_its_image(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pool, "predict", die)
    callback = CRFEvaluation(engine="pydensecrf", num_workers=1)
    module: Any = EvaluatedModule(trainer_in(tmp_path), NAMES)
    with pytest.raises(RuntimeError, match="image 0"):
        evaluate([callback], module, [noisy_halves(number) for number in range(5)])
    callback.on_exception(module.trainer, module, RuntimeError())
    wait_until(lambda: not multiprocessing.active_children())


def test_it_stays_out_of_a_training_run_unless_asked(tmp_path: Path) -> None:
    for during_fit in (False, True):
        module = EvaluatedModule(trainer_in(tmp_path, "fit"), NAMES)
        (outputs,) = evaluate([CRFEvaluation(during_fit=during_fit)], module, [noisy_halves(0)])
        assert ("refinement" in outputs) == during_fit
        assert bool(module.logged) == during_fit


def test_no_worker_outlives_a_failure(tmp_path: Path) -> None:
    callback = CRFEvaluation(engine="pydensecrf", num_workers=2)
    module: Any = EvaluatedModule(trainer_in(tmp_path), NAMES)

    def interrupted() -> Any:
        yield noisy_halves(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate([callback], module, interrupted())
    assert multiprocessing.active_children()
    callback.on_exception(module.trainer, module, KeyboardInterrupt())
    assert module.refiner is None
    wait_until(lambda: not multiprocessing.active_children())


def test_its_settings_are_those_of_the_crf() -> None:
    settings: dict[str, Any] = {"iterations": 3, "normalization": "symmetric", "min_probability": 0.1}
    assert CRFEvaluation(**CRF, engine="torch", **settings).crf == DenseCRF(**CRF, engine="torch", **settings)
    assert CRFEvaluation().crf == DenseCRF()
    with pytest.raises(TypeError, match="iteration"):
        CRFEvaluation(iteration=3)


def test_workers_of_an_engine_without_any_are_refused() -> None:
    with pytest.raises(ValueError, match=r"num_workers 3 .*'auto'"):
        CRFEvaluation(num_workers=3)


def test_a_step_that_leaves_the_refinement_out_is_named(tmp_path: Path) -> None:
    class Forgetful(EvaluatedModule):
        def step(self, logits: torch.Tensor, batch: dict[str, Any]) -> dict[str, Any]:
            return {"loss": torch.zeros(()), "logits": logits}

    with pytest.raises(ValueError, match=r"Forgetful.*self\.prediction\(logits, batch\)"):
        evaluate([CRFEvaluation(**CRF)], Forgetful(trainer_in(tmp_path), NAMES), [noisy_halves(0)])
