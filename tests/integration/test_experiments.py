"""Every YAML file under experiments/ can be parsed and instantiated."""

import csv
import math
from pathlib import Path

import pytest
from lightning import Trainer

from deeplab_lightning.cli import DeepLabCLI
from tests.devkits import (
    write_ade20k,
    write_cityscapes,
    write_coco,
    write_coco_stuff,
    write_pascal_context,
    write_person_part,
    write_sbd,
    write_voc,
)
from tests.integration.conftest import ROOT, Run
from tests.thin import an_eighth_of_the_channels

EXPERIMENTS = ROOT / "experiments"
CONFIGS = sorted(
    path for path in EXPERIMENTS.rglob("*.yaml") if path.parent.name != "ablations"
)  # ablations/ holds tables
MODELS = sorted((EXPERIMENTS / "model").glob("*.yaml"))
OTHER_SIZES = {
    "deeplab_v1_4x4_rate8": "deeplab_v1",
    "deeplab_v1_7x7": "deeplab_v1",
    "deeplab_v1_msc": "deeplab_v1_msc_largefov",
    "deeplab_v2_resnet101_largefov": "deeplab_v2_resnet101",
    "deeplab_v2_vgg16_aspp_s": "deeplab_v2_vgg16_aspp_l",
    "deeplab_v3_resnet101_beta": "deeplab_v3_stage2",
    "deeplab_v3plus_resnet50": "deeplab_v3plus",
    "deeplab_v3plus_xception65": "deeplab_v3plus_xception41",
    "deeplab_v3plus_xception71": "deeplab_v3plus_xception41",
}
"""Models with the parts of another one in other sizes. They are instantiated, and trained by a slow test."""
TRAINED = [
    pytest.param(path, marks=pytest.mark.slow if path.stem in OTHER_SIZES else (), id=path.stem) for path in MODELS
]
INSTANTIATED = [path for path in CONFIGS if path not in MODELS or path.stem in OTHER_SIZES]  # the others are trained
TINY = """
model:
  init_args: {{optimizer: sgd, lr: 1.0e-5}}
data:
  class_path: FolderDataModule
  init_args: {{root: {root}, batch_size: 2, crop_size: [33, 33], num_workers: 0}}
trainer:
  accelerator: cpu
  devices: 1
  max_steps: 2
  val_check_interval: 2
  limit_val_batches: 1
  num_sanity_val_steps: 0
  log_every_n_steps: 1
  precision: 32-true
  enable_progress_bar: false
  enable_model_summary: false
"""
PARTS = {"data": "data/shapes.yaml", "model": "model/deeplab_v3plus.yaml", "scale": "scale/smoke.yaml"}


def test_the_experiments_are_found() -> None:
    assert len(MODELS) >= 22
    assert len(CONFIGS) >= 30
    assert {*OTHER_SIZES, *OTHER_SIZES.values()} <= {path.stem for path in MODELS}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All data sets, in their official layouts."""
    root = tmp_path_factory.mktemp("data")
    for name in ("camvid", "my_data"):
        (root / name).mkdir()
        (root / name / "class_names.txt").write_text("".join(f"class {index}\n" for index in range(11)))
    write_voc(root / "VOCdevkit" / "VOC2012")
    write_sbd(root / "benchmark_RELEASE" / "dataset")
    write_coco(root / "coco", {})
    write_coco_stuff(root / "cocostuff-10k-v1.1")
    write_cityscapes(root / "cityscapes")
    write_ade20k(root / "ADEChallengeData2016")
    labels = write_pascal_context(root / "VOCdevkit" / "VOC2010")
    (root / "pascal-context").mkdir()
    labels.rename(root / "pascal-context" / "trainval")
    write_person_part(root / "pascal_person_part", root / "VOCdevkit" / "VOC2012")
    return root


@pytest.mark.parametrize("config", INSTANTIATED, ids=lambda path: str(path.relative_to(EXPERIMENTS)))
def test_an_experiment_can_be_instantiated(
    config: Path, data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DEEPLAB_DATA", str(data))
    monkeypatch.setattr("deeplab_lightning.cli.DeepLabCLI._run_subcommand", lambda self, command: None)
    parts = PARTS | {config.parent.name: str(config.relative_to(EXPERIMENTS))}
    if config.name in ("cpu.yaml", "networks_cpu.yaml"):  # their start_from weights have CamVid's classes
        parts["data"] = "data/camvid.yaml"
    chosen = ["base.yaml", parts["data"], parts["model"]]
    if config.parent.name == "scale":
        chosen.append(parts["scale"])
    if config.parent.name == "crf":
        chosen.append(parts["crf"])
    options = [option for name in chosen for option in ("-c", str(EXPERIMENTS / name))]
    start = ["--model.pretrained", "false", "--model.start_from", "null"]
    with an_eighth_of_the_channels():
        cli = DeepLabCLI("fit", [*options, *start, "--trainer.default_root_dir", str(tmp_path)])
    assert isinstance(cli.trainer, Trainer)
    assert cli.model.network.num_classes == cli.datamodule.num_classes


@pytest.mark.parametrize("config", TRAINED)
def test_a_model_file_trains(config: Path, deeplab: Run, shapes_root: Path, tmp_path: Path) -> None:
    """The network, with an eighth of its channels, is trained for two steps on Shapes, validated and saved."""
    (tmp_path / "tiny.yaml").write_text(TINY.format(root=shapes_root))
    parts = [EXPERIMENTS / "base.yaml", config, EXPERIMENTS / "scale" / "shapes.yaml", tmp_path / "tiny.yaml"]
    options = [option for part in parts for option in ("-c", str(part))]
    with an_eighth_of_the_channels():
        assert deeplab("fit", *options, "--trainer.default_root_dir", tmp_path) == 0
    assert (tmp_path / "best.ckpt").is_file()
    assert (tmp_path / "last.ckpt").is_file()
    with (tmp_path / "logs" / "fit_0" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name, count in (("train/loss", 2), ("val/loss", 1), ("val/miou", 1)):
        values = [float(row[name]) for row in rows if row[name]]
        assert len(values) == count
        assert all(math.isfinite(value) for value in values), name
