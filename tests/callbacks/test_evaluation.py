"""The base of evaluation callbacks: when its hooks are called, and that the order of callbacks never matters."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from lightning import Trainer

from deeplab_lightning.callbacks.crf_evaluation import CRFEvaluation
from deeplab_lightning.callbacks.evaluation import EvaluationCallback, Split
from deeplab_lightning.callbacks.log_predictions import LogPredictions
from deeplab_lightning.callbacks.record_evaluation import RecordEvaluation
from deeplab_lightning.callbacks.save_logits import SaveLogits
from deeplab_lightning.callbacks.trimap_evaluation import TrimapEvaluation
from deeplab_lightning.callbacks.write_predictions import WritePredictions
from deeplab_lightning.datamodules.folder import FolderDataModule
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.deeplab_v3plus import DeepLabV3PlusModule
from deeplab_lightning.modules.outputs import Outputs

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.isinstance.treespec, LeafSpec")

NUM_CALLBACKS = 6
LISTED = list(range(NUM_CALLBACKS))
SHUFFLED = [random.Random(seed).sample(LISTED, NUM_CALLBACKS) for seed in range(2)]


@pytest.fixture(scope="module")
def data(shapes_root: Path) -> FolderDataModule:
    return FolderDataModule(str(shapes_root), batch_size=4, crop_size=(32, 32), num_workers=0)


@pytest.fixture(scope="module")
def module(data: FolderDataModule) -> DeepLabV3PlusModule:
    """Its decoder is untrained, so that a CRF has something to do."""
    names = data.class_names
    return DeepLabV3PlusModule(len(names), class_names=names, backbone="mobilenet_v2", pretrained=False)


def trainer(folder: Path, callbacks: list[Any], **settings: Any) -> Trainer:
    return Trainer(
        default_root_dir=folder,
        callbacks=callbacks,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )


class Recorder(EvaluationCallback):
    """Writes down the hooks that are called."""

    splits = ("val", "test", "predict")

    def __init__(self) -> None:
        self.calls: list[tuple[str, Split]] = []

    def start(self, module: SegmentationModule, split: Split) -> None:
        self.calls.append(("start", split))

    def batch(self, module: SegmentationModule, outputs: Outputs, batch: dict[str, Any], split: Split) -> None:
        assert outputs["logits"].shape[-2:] == batch["mask"].shape[-2:]
        self.calls.append(("batch", split))

    def finish(self, module: SegmentationModule, split: Split) -> None:
        self.calls.append(("finish", split))

    def report(self, module: SegmentationModule, split: Split) -> None:
        self.calls.append(("report", split))


def hooks(split: Split, batches: int) -> list[tuple[str, Split]]:
    return [(hook, split) for hook in ("start", *["batch"] * batches, "finish", "report")]


def test_the_hooks_of_every_split(module: Any, data: Any, tmp_path: Path) -> None:
    recorder = Recorder()
    own = trainer(tmp_path, [recorder], limit_val_batches=2, limit_test_batches=1, limit_predict_batches=1)
    own.validate(module, data, verbose=False)
    own.test(module, data, verbose=False)
    own.predict(module, data)
    assert recorder.calls == hooks("val", 2) + hooks("test", 1) + hooks("predict", 1)
    assert recorder.logs.path == tmp_path


@pytest.mark.parametrize("during_fit", [True, False])
def test_a_training_is_followed_where_it_is_asked_for_and_never_its_sanity_check(
    data: Any, tmp_path: Path, during_fit: bool
) -> None:
    recorder = Recorder()
    recorder.during_fit = during_fit
    limits = {"limit_train_batches": 1, "limit_val_batches": 1, "enable_checkpointing": False}
    module = DeepLabV3PlusModule(data.num_classes, backbone="mobilenet_v2", pretrained=False)
    trainer(tmp_path, [recorder], max_steps=1, **limits).fit(module, data)
    assert recorder.calls == (hooks("val", 1) if during_fit else [])


def results(order: list[int], engine: str, folder: Path, module: Any, data: Any) -> tuple[dict[str, Any], ...]:
    """Files and logged numbers of a validation and a prediction with the callbacks in an order; no durations."""
    settings: dict[str, Any] = {"engine": engine} | ({"num_workers": 1} if engine == "pydensecrf" else {})
    callbacks = [
        CRFEvaluation(bilateral_xy=9, bilateral_rgb=9, iterations=2, **settings),
        TrimapEvaluation(max_width=4),
        LogPredictions(3),
        RecordEvaluation(),
        SaveLogits(str(folder / "logits")),
        WritePredictions(),
    ]
    own = trainer(folder, [callbacks[index] for index in order])
    own.validate(module, data, verbose=False)
    logged = {name: float(value) for name, value in own.callback_metrics.items() if "seconds" not in name}
    own.predict(module, data, return_predictions=False)
    files: dict[str, Any] = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}
    records = json.loads(files["evaluation.json"])
    files["evaluation.json"] = [record for record in records if "seconds" not in record["metric"]]
    return files, {name: value for name, value in logged.items() if value == value}


@pytest.mark.parametrize(("engine", "orders"), [("torch", [LISTED[::-1], *SHUFFLED]), ("pydensecrf", [LISTED[::-1]])])
def test_the_order_of_callbacks_does_not_matter(
    engine: str, orders: list[list[int]], module: Any, data: Any, tmp_path: Path
) -> None:
    """Each two of them stand in both orders."""
    files, logged = results(LISTED, engine, tmp_path / "listed", module, data)
    assert {"evaluation.json", "panels/val/trimap.png"} < set(files)
    assert len([name for name in files if name.startswith("panels/")]) == 4
    assert len([name for name in files if name.startswith("predictions/")]) == 3
    assert len([name for name in files if name.startswith("logits/")]) == 5
    assert logged["val/pixel_accuracy"] != logged["val/pixel_accuracy_crf"]
    assert {"val/miou_gain_crf", "val/trimap_miou_crf/4", "val/trimap_accuracy/4"} < set(logged)
    for number, order in enumerate(orders):
        again, logged_again = results(order, engine, tmp_path / str(number), module, data)
        assert logged_again == logged
        assert set(again) == set(files)
        assert [name for name in files if again[name] != files[name]] == []
