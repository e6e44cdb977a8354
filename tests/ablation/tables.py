"""A small tree of experiments, with one table of a tiny network on a small Shapes tree."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from deeplab_lightning.ablation.plan import Training, plan_table
from deeplab_lightning.ablation.table import read_table
from deeplab_lightning.class_record import ClassRecord
from deeplab_lightning.palette import Palette
from deeplab_lightning.run_folder import LogFolder
from tests.test_identity import IDENTITY

CLASSES = ("road & rail", "car", "<bicycle>")

BASE = """
trainer:
  accelerator: cpu
  devices: 1
  max_steps: 6
  val_check_interval: 3
  check_val_every_n_epoch: null
  num_sanity_val_steps: 0
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
"""
MODEL = """
model:
  class_path: DeepLabV3Module
  init_args: {backbone: resnet18, aspp_channels: 8, lr: 0.01, dropout: 0.0}
data:
  init_args: {batch_size: 4, crop_size: [32, 32], num_workers: 0}
"""
TABLE = """
table: "Two rows, and who else there is"
metric: val/miou
configs: [base.yaml, data/shapes.yaml, model/tiny.yaml]
rows:
  - {name: others, paper: 30.5}
  - {name: plain, train: {}, paper: 20.0, columns: {size: 11M}}
  - {name: flip, train: {}, evaluate: {model.init_args.flip: true}, paper: 21.0, uncertain: the side}
"""


def write_tree(root: Path, data: Path, table: str = TABLE) -> Path:
    """Write the tree into a folder, and return the path of its only table."""
    files = {
        "base.yaml": BASE,
        "data/shapes.yaml": f"data: {{class_path: FolderDataModule, init_args: {{root: {data}}}}}\n",
        "model/tiny.yaml": MODEL,
        "model/other.yaml": MODEL.replace("resnet18", "resnet34"),
        "scale/tables_smoke.yaml": "trainer: {max_steps: 2}\n",
        "crf/crf.yaml": "trainer: {callbacks+: [{class_path: CRFEvaluation}]}\n",
        "ablations/tiny.yaml": table,
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root / "ablations" / "tiny.yaml"


def write_runs(path: Path, root: Path, num_seeds: int, num_bands: int = 0) -> None:
    """Write the files of the table's runs at the paper's scale into a folder, with made-up scores.

    Row k scores 20 + 10 k in the mean, in percent, seed s as much more; the CRF adds 5 to every score.
    """
    for training in plan_table(read_table(path), "paper", range(num_seeds)).trainings:
        folder = root / training.name
        write_log(folder, "fit_0")
        steps = "".join(f"{step},{2 / (step + 1)},\n{step},,{step / 100}\n" for step in range(6))
        (folder / "logs" / "fit_0" / "metrics.csv").write_text(f"step,train/loss,val/miou\n{steps}")
        (folder / "done.json").write_text(json.dumps({"seed": training.seed, "seconds": 10}))
        for number, digest in enumerate(training.evaluations):
            write_evaluation(folder / "evaluations" / digest, training, 0.2 + 0.1 * number, num_bands)


def write_log(folder: Path, name: str) -> Path:
    """Create an empty log folder."""
    (folder / "logs" / name).mkdir(parents=True)
    return folder / "logs" / name


def write_evaluation(folder: Path, training: Training, score: float, num_bands: int) -> None:
    """Write the scores and the panels of one evaluation."""
    values = {}
    for suffix, gain in (("", 0.0), ("_crf", 0.05)):
        values[f"miou{suffix}"] = score + training.seed / 100 + gain
        values |= {f"iou{suffix}/{name}": values[f"miou{suffix}"] + k / 10 for k, name in enumerate(CLASSES)}
        values |= {f"trimap_miou{suffix}/{width}": score + gain + width / 100 for width in range(1, num_bands + 1)}
    identity = IDENTITY.as_dict()
    records = [{"metric": f"val/{name}", "value": value, "identity": identity} for name, value in values.items()]
    log = LogFolder(write_log(folder, "validate_0"))
    for refined in (False, True):
        matrix = [[60, 20, 0], [20, 80 + 20 * training.seed, 0], [0, 0, 0]]
        own = identity | {"split": "val", "crf": "xy 67" if refined else None}
        ClassRecord(Palette.generated(CLASSES), matrix, own).write(log.classes("val", refined))
    panels = log.panels / "val"
    panels.mkdir(parents=True)
    for name in ("a", "b", "c", "trimap"):
        noise = np.random.default_rng(0).integers(0, 256, (60, 2000, 3), np.uint8)
        Image.fromarray(noise).save(panels / f"{name}.png")
    (folder / "done.json").write_text(json.dumps({"records": records, "seconds": 2}))


def write_scored_tree(root: Path) -> Path:
    """Write the tree, whose plain row is done with two seeds at the paper's scale and with one at the smoke scale.

    Returns:
        The path of the table; the runs are in `runs` under the root.
    """
    path = write_tree(root, root)
    for scale, scores in (("paper", (0.22, 0.24)), ("smoke", (0.1,))):
        plan = plan_table(read_table(path), scale, range(len(scores)))
        for training, score in zip(plan.trainings, scores, strict=True):
            folder = root / "runs" / scale / training.name
            write_done(folder, {"seed": training.seed, "seconds": 10})
            record = {"metric": "val/miou", "value": score, "identity": IDENTITY.as_dict()}
            write_done(folder / "evaluations" / next(iter(training.evaluations)), {"records": [record], "seconds": 2})
    return path


def write_done(folder: Path, content: dict[str, Any]) -> None:
    """Write the record of a job that is done."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "done.json").write_text(json.dumps(content))
