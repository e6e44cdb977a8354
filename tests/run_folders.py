"""A run folder with the files of two commands."""

import json
from pathlib import Path
from typing import Any

from PIL import Image

from deeplab_lightning.class_record import ClassRecord
from deeplab_lightning.palette import Palette
from tests.test_identity import IDENTITY

METRICS = "epoch,step,train/loss,val/miou,lr-SGD\n0,9,1.5,,0.1\n0,19,1.0,,0.05\n0,19,,0.4,\n"


def record(metric: str, value: float, **changes: Any) -> dict[str, Any]:
    """A score with the identity of all tests, or with changes to it."""
    return {"split": "test", "metric": metric, "value": value, "identity": IDENTITY.as_dict() | changes}


def write_log(root: Path, name: str, records: list[dict[str, Any]], metrics: str = "") -> Path:
    """Write a log folder with one picture."""
    log = root / "logs" / name
    (log / "panels" / "test").mkdir(parents=True)
    (log / "evaluation.json").write_text(json.dumps(records))
    (log / "metrics.csv").write_text(metrics)
    Image.new("RGB", (20, 10)).save(log / "panels" / "test" / f"{name}.png")
    return log


def write_classes(log: Path, refined: bool = False, **changes: Any) -> ClassRecord:
    """Write the confusion matrix of a log's test: three classes, of which the last occurs nowhere."""
    identity = IDENTITY.as_dict() | changes
    palette = Palette(("road", "<car>", "tree"), ((128, 64, 128), (0, 0, 142), (107, 142, 35)))
    record = ClassRecord(palette, [[80, 20, 0], [10, 90, 0], [0, 0, 0]], identity)
    record.write(log / f"classes_test{'_crf' if refined else ''}.json")
    return record


def write_run(root: Path) -> Path:
    """Write the folder of a training that was tested with and without a CRF."""
    write_log(root, "fit_0", [record("test/miou", 0.40)], METRICS)
    write_log(root, "test_0", [record("test/miou", 0.41), record("test/miou_crf", 0.43, crf="xy 67")])
    return root
