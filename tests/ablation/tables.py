"""A small tree of experiments, with one table of a tiny network on a small Shapes tree."""

from pathlib import Path

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
    """Write the tree into a folder; its only table's path."""
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
