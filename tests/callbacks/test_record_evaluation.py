"""The record of an evaluation: its order, its identities, what is printed, and the table of classes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich import get_console

from deeplab_lightning.callbacks.crf_evaluation import CRFEvaluation
from deeplab_lightning.callbacks.record_evaluation import RecordEvaluation, per_class, read_scores
from deeplab_lightning.class_record import ClassRecord
from deeplab_lightning.crf.settings import NORMALIZATION_WORDS
from deeplab_lightning.scores import ScoreName
from tests.callbacks.evaluated import PALETTE, EvaluatedModule, evaluate, identity, noisy_halves, trainer_in

LAYERS = f"as layers, trained, {NORMALIZATION_WORDS['after']}"


class RecordedModule(EvaluatedModule):
    """Logs its own scores too, as the base module does at the end of an epoch."""

    def __init__(self, trainer: Any, crf: str | None = None) -> None:
        super().__init__(trainer, ["sky", "tree"], crf)

    def log(self, name: str, value: float, **_: Any) -> None:
        """As Lightning does."""
        self.trainer.callback_metrics[name] = torch.tensor(value)


def recorded(module: RecordedModule, callbacks: list[Any]) -> list[dict[str, Any]]:
    """The records of an evaluation in evaluation.json."""

    def steps() -> Any:
        yield from (noisy_halves(number) for number in range(2))
        for name, value in module.scores.compute("val").items():
            module.log(str(name), value)
        module.log("val/loss", 0.5)
        module.log("train/loss", 0.7)

    evaluate(callbacks, module, steps())
    found: list[dict[str, Any]] = json.loads((Path(module.trainer.log_dir) / "evaluation.json").read_text())
    return found


@pytest.mark.parametrize("layers", [None, LAYERS])
def test_a_score_names_every_crf_that_its_predictions_went_through(layers: str | None, tmp_path: Path) -> None:
    callback = CRFEvaluation(iterations=1)
    records = recorded(RecordedModule(trainer_in(tmp_path), layers), [RecordEvaluation(), callback])
    crfs = {record["metric"]: record["identity"]["crf"] for record in records}
    assert crfs["val/miou"] == crfs["val/iou/tree"] == crfs["val/loss"] == layers
    own = str(callback.crf)
    assert crfs["val/miou_crf"] == crfs["val/miou_gain_crf"] == (f"{layers}, then {own}" if layers else own)


def test_scores_are_recorded_in_the_order_in_which_they_are_read(tmp_path: Path) -> None:
    """Those of the whole split first, unrefined before refined; void is nowhere, so no band has a score."""
    records = recorded(RecordedModule(trainer_in(tmp_path)), [CRFEvaluation(iterations=1), RecordEvaluation()])
    assert [record["metric"] for record in records] == [
        "val/miou", "val/miou_crf", "val/miou_gain_crf", "val/pixel_accuracy", "val/pixel_accuracy_crf",
        "val/iou/sky", "val/iou/tree", "val/iou_crf/sky", "val/iou_crf/tree", "val/loss", "val/seconds_per_image_crf",
    ]  # fmt: skip


def test_confusion_matrices_are_recorded_without_and_with_the_crf(tmp_path: Path) -> None:
    module, callback = RecordedModule(trainer_in(tmp_path)), CRFEvaluation(iterations=1)
    recorded(module, [callback, RecordEvaluation()])
    plain, refined = (
        ClassRecord.of_record(json.loads((tmp_path / name).read_text()))
        for name in ("classes_val.json", "classes_val_crf.json")
    )
    assert plain.palette == refined.palette == PALETTE
    assert plain.matrix == module.scores.matrix.tolist()
    assert sum(map(sum, refined.matrix)) == 2 * 24 * 32
    assert refined.matrix != plain.matrix
    assert (plain.identity["crf"], refined.identity["crf"]) == (None, str(callback.crf))


@pytest.mark.parametrize("name", ["val/trimap_of_mine", "val/iou", "val/iou/nowhere", "val/my/own/score"])
def test_a_score_of_another_callback_is_recorded_too(name: str, tmp_path: Path) -> None:
    module = RecordedModule(trainer_in(tmp_path))
    module.trainer.callback_metrics[name] = torch.tensor(0.25)
    values = {record["metric"]: record["value"] for record in recorded(module, [RecordEvaluation()])}
    assert values[name] == 0.25
    assert "val/miou" in values


def test_a_table_is_printed_after_an_evaluation(tmp_path: Path) -> None:
    with get_console().capture() as printed:
        recorded(RecordedModule(trainer_in(tmp_path)), [CRFEvaluation(iterations=1), RecordEvaluation()])
    lines = printed.get().splitlines()
    assert [line.split("│")[3].strip() for line in lines if "val/miou" in line] == ["[1]", "[2]", "[2]"]
    assert printed.get().count("weights of step 3") == 2


def test_a_line_is_printed_after_a_validation_of_a_training(tmp_path: Path) -> None:
    """Its identity comes with the first."""
    module, callback = RecordedModule(trainer_in(tmp_path, "fit")), RecordEvaluation()
    with get_console().capture() as printed:
        for _ in range(2):
            recorded(module, [callback])
    first, second = " ".join(printed.get().split()).split("step 3: ")[1:]
    assert first.startswith(f"val/miou {module.trainer.callback_metrics['val/miou']:.4f} (shapes val, 2 images")
    assert second == first.split(" (")[0]


def test_the_table_of_classes_has_a_column_for_each_kind() -> None:
    metrics = {"val/iou/sky": 0.5, "val/iou_crf/tree": 0.75, "val/miou": 0.1, "test/iou/tree": 1.0, "lr-SGD": 0.1}
    scores = read_scores({name: torch.tensor(value) for name, value in metrics.items()}, "val", identity(), "xy 9")
    assert {score.name for score in scores} == {ScoreName.parse(name) for name in metrics if name.startswith("val")}
    assert per_class(scores, ["sky", "tree"]) == (
        ["class", "iou", "iou_crf"],
        [["sky", 0.5, None], ["tree", None, 0.75]],
    )
    plain = [score for score in scores if not score.name.refined]
    assert per_class(plain, ["sky"]) == (["class", "iou"], [["sky", 0.5]])
