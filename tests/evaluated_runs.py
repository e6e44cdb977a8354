"""Log folders of evaluations with given settings, as `deeplab validate` writes them."""

import json
from pathlib import Path
from typing import Any

import yaml

from deeplab_lightning.class_record import ClassRecord
from deeplab_lightning.palette import Palette
from deeplab_lightning.settings.compose import compose
from tests.test_identity import IDENTITY

SETTINGS: dict[str, Any] = {
    "seed_everything": 0,
    "ckpt_path": "elsewhere/best.ckpt",
    "trainer": {"precision": "32-true", "max_steps": 10, "callbacks": []},
    "model": {"class_path": "DeepLabV3PlusModule", "init_args": {"output_stride": 16, "scales": [1.0], "flip": False}},
    "data": {"class_path": "FolderDataModule", "init_args": {"root": "x", "evaluation_size": "whole_image"}},
}
PALETTE = Palette(("road", "car", "tree"), ((128, 64, 128), (0, 0, 142), (107, 142, 35)))


def write_evaluation(
    run: Path,
    miou: float,
    *,
    name: str = "validate_0",
    matrix: list[list[int]] | None = None,
    environment: dict[str, str] | None = None,
    **changes: Any,
) -> Path:
    """Write the log folder of an evaluation, with a checkpoint beside it, and return the folder.

    Args:
        run: The run folder.
        miou: Its score, in 0..1.
        name: Name of the log folder.
        matrix: Confusion matrix of three classes.
        environment: Changes to the versions and the machine.
        changes: Dotted settings, with __ in place of dots.
    """
    log = run / "logs" / name
    log.mkdir(parents=True)
    settings = compose([SETTINGS], {key.replace("__", "."): value for key, value in changes.items()})
    identity = IDENTITY.as_dict() | {"split": "val"}
    score = {"split": "val", "metric": "val/miou", "value": miou, "identity": identity}
    (log / "config.yaml").write_text(yaml.safe_dump(settings))
    (log / "evaluation.json").write_text(json.dumps([score]))
    made_by = {"torch": "2.15.0", "device": "cpu", "num_devices": 1} | (environment or {})
    (log / "run.json").write_text(json.dumps({"git": {"commit": "a", "dirty": False}, "environment": made_by}))
    ClassRecord(PALETTE, matrix or [[80, 20, 0], [10, 90, 0], [0, 0, 0]], identity).write(log / "classes_val.json")
    (run / "best.ckpt").touch()
    return log
