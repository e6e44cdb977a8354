"""Every YAML under experiments/ parses and instantiates."""

from pathlib import Path

import pytest
from lightning import Trainer

from deeplab_lightning.cli import DeepLabCLI
from tests.devkits import write_coco, write_coco_stuff, write_sbd, write_voc
from tests.integration.conftest import ROOT

EXPERIMENTS = ROOT / "experiments"
CONFIGS = sorted(EXPERIMENTS.rglob("*.yaml"))
PARTS = {"data": "data/shapes.yaml", "model": "model/deeplab_v3plus.yaml", "scale": "scale/smoke.yaml"}


def test_they_are_found() -> None:
    assert len(CONFIGS) >= 7


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: str(path.relative_to(EXPERIMENTS)))
def test_it_instantiates(config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for root in ("camvid", "my_data"):
        (tmp_path / root).mkdir()
        (tmp_path / root / "class_names.txt").write_text("".join(f"class {index}\n" for index in range(11)))
    write_voc(tmp_path / "VOCdevkit" / "VOC2012")
    write_sbd(tmp_path / "benchmark_RELEASE" / "dataset")
    write_coco(tmp_path / "coco", {})
    write_coco_stuff(tmp_path / "cocostuff-10k-v1.1")
    monkeypatch.setenv("DEEPLAB_DATA", str(tmp_path))
    monkeypatch.setattr("deeplab_lightning.cli.DeepLabCLI._run_subcommand", lambda self, command: None)
    parts = PARTS | {config.parent.name: str(config.relative_to(EXPERIMENTS))}
    if config.name == "cpu.yaml":
        parts["data"] = "data/camvid.yaml"
    chosen = ["base.yaml", parts["data"], parts["model"]]
    if config.parent.name == "scale":
        chosen.append(parts["scale"])
    if config.parent.name == "crf":
        chosen.append(parts["crf"])
    options = [option for name in chosen for option in ("-c", str(EXPERIMENTS / name))]
    cli = DeepLabCLI("fit", [*options, "--model.pretrained", "false", "--trainer.default_root_dir", str(tmp_path)])
    assert isinstance(cli.trainer, Trainer)
    assert cli.model.network.num_classes == cli.datamodule.num_classes
