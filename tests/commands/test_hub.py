"""`deeplab hub` writes a folder with its card, and pushes it; neither tells a path, a user or a machine."""

import json
import re
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import huggingface_hub
import pytest
import torch
from PIL import Image

from deeplab_lightning import load
from deeplab_lightning.__main__ import main
from deeplab_lightning.description import DESCRIPTION
from deeplab_lightning.run_folder import RunFolder
from deeplab_lightning.scores import Score, ScoreName
from tests.published.test_hub import FakeApi, api  # noqa: F401  (a fixture)
from tests.run_folders import METRICS, write_classes, write_run
from tests.segmentation.models import NAMES, describe_small, write_checkpoint
from tests.test_identity import IDENTITY

PAGE = Path(__file__).parents[2] / "docs" / "hub.md"
SCORE = Score(ScoreName.parse("val/miou"), 0.4, IDENTITY.as_dict() | {"split": "val"})
CONFIG = """
seed_everything: 3
trainer: {default_root_dir: /home/alice/runs/street, max_steps: 20, precision: 32-true}
model:
  class_path: deeplab_lightning.DeepLabV3Module
  init_args: {lr: 0.01, start_from: /home/alice/best.ckpt, pretrained: torchvision/deeplabv3_resnet50_coco, loss: null}
data:
  class_path: deeplab_lightning.FolderDataModule
  init_args: {root: /home/alice/street, batch_size: 4, crop_size: [64, 96]}
ckpt_path: /home/alice/last.ckpt
"""
RECORD = {
    "git": {"commit": "0123abcd", "dirty": True},
    "environment": {"torch": "2.11", "lightning": "2.6", "device": "cpu (x86_64)", "num_devices": 1, "host": "tower7"},
    "seconds": 90.0,
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A checkpoint's content."""
    path = write_checkpoint(tmp_path_factory.mktemp("weights") / "best.ckpt", describe_small())
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


def write_weights(path: Path, weights: dict[str, Any], score: Score | None) -> Path:
    torch.save(weights | {DESCRIPTION: describe_small(score=score).as_dict()}, path)
    return path


@pytest.fixture
def trained(weights: dict[str, Any], tmp_path: Path) -> Path:
    """A checkpoint in the folder of its run, which belongs to a user with a name."""
    folder = tmp_path / "alice" / "run"
    write_run(folder)
    for log in RunFolder(folder).logs("fit"):
        log.config.write_text(CONFIG)
        log.run.write_text(json.dumps(RECORD))
        log.metrics.unlink()  # charts take most of the time; one test has them
        for path in log.pictures():
            Image.open(path).save(path.with_name("alice_1.png"))
    write_classes(next(log.path for log in RunFolder(folder).logs("test")))
    return write_weights(folder / "best.ckpt", weights, SCORE)


def test_a_saved_folder_loads_and_tells_no_names(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "shared" / "street"
    next(log.metrics for log in RunFolder(trained.parent).logs("fit")).write_text(METRICS)
    assert main(["hub", "save", str(trained), str(folder), "--license", "mit"]) == 0
    assert "README.md" in capsys.readouterr().out
    assert load(folder, device="cpu").digest == load(trained, device="cpu").digest
    text = (folder / "README.md").read_text()
    for words in (
        "0.4000",
        "| `model.lr` | 0.01 |",
        "a file",
        "torchvision/deeplabv3",
        "0123abcd",
        "[64, 96]",
        "| road |",
    ):
        assert words in text
    for path in folder.iterdir():
        for secret in (b"alice", b"tower7", b"/home", str(tmp_path).encode()):
            assert secret not in path.read_bytes(), path
    pictures = [path.name for path in folder.iterdir() if path.suffix in (".png", ".jpg")]
    assert all(f"]({name})" in text for name in pictures)
    assert {*pictures} >= {"prediction_1.jpg", "training_loss.png", "validation_mIoU.png"}


def test_the_front_matter_is_valid_on_the_hub(trained: Path, tmp_path: Path) -> None:
    main(["hub", "save", str(trained), str(tmp_path / "street"), "--license", "cc-by-4.0"])
    data = huggingface_hub.ModelCard.load(tmp_path / "street" / "README.md").data
    assert (data.license, data.pipeline_tag) == ("cc-by-4.0", "image-segmentation")
    assert data.library_name == "deeplab_lightning"
    assert data.eval_results is not None
    found = {(each.metric_type, each.metric_value, each.dataset_split) for each in data.eval_results}
    assert ("mean_iou", 0.4, "val") in found


def test_weights_alone_give_a_card_that_says_what_is_missing(
    weights: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_weights(tmp_path / "slim.ckpt", weights, None)
    assert main(["hub", "save", str(path), str(tmp_path / "street")]) == 0
    printed = capsys.readouterr()
    assert "--license" in printed.out
    assert "--run" in printed.err
    text = (tmp_path / "street" / "README.md").read_text()
    assert all(name in text for name in NAMES)
    assert "license:" not in text
    assert "model-index" not in text
    gaps = text.partition("## What is not known")[2]
    for words in ("settings of the training", "Scores:", "licence of the weights"):
        assert words in gaps
    assert [path.name for path in (tmp_path / "street").glob("*.png")] == []


def test_scores_of_other_weights_are_left_out(weights: dict[str, Any], trained: Path, tmp_path: Path) -> None:
    identity = SCORE.identity | {"weights": "of step 7777"}
    write_weights(trained, weights, Score(SCORE.name, 0.123, identity))
    main(["hub", "save", str(trained), str(tmp_path / "street")])
    text = (tmp_path / "street" / "README.md").read_text()
    assert "0.1230" in text
    assert "0.4100" not in text
    assert str(IDENTITY.weights) in text.partition("## What is not known")[2]


def test_existing_folders_and_wrong_runs_are_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["hub", "save", str(trained), str(trained.parent)]) == 2
    assert "exists" in capsys.readouterr().err
    assert main(["hub", "save", str(trained), str(tmp_path / "street"), "--run", str(tmp_path)]) == 2
    assert "no run folder" in capsys.readouterr().err
    for name, value in (("--license", "The MIT licence"), ("--pictures", "-1")):
        assert main(["hub", "save", str(trained), str(tmp_path / "street"), name, value]) == 2
        assert value in capsys.readouterr().err
    torch.save({}, trained)
    assert main(["hub", "save", str(trained), str(tmp_path / "street")]) == 1
    assert not (tmp_path / "street").exists()


def test_the_commands_of_the_page(
    api: FakeApi,  # noqa: F811
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The hub's page keeps what the pushed commit has."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    trained.parent.rename(tmp_path / "runs" / "demo")
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (32, 24)).save(tmp_path / "pictures" / "a.png")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path / "street"))
    commands = re.findall(r"^deeplab ([^#\n]+)", PAGE.read_text(), re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["hub", "segment", "hub", "segment"]
    for command in commands:
        assert main(command.split()) == 0, command
    name, files = api.asked[-1]
    assert name == "alice/street"
    assert {*files} >= {"config.json", "model.safetensors", "README.md", "prediction_1.jpg"}
    assert b'load("alice/street")' in files["README.md"]
    (tmp_path / "street" / "notes.txt").write_text("private")
    assert main(["hub", "push", "street", "alice/other", "--private"]) == 0
    assert api.asked[-2:] == [("alice/other", True, True), ("alice/other", {**files, "README.md": ANY})]
    assert main(["hub", "push", "street", "alice/other", "--license", "mit"]) == 2
    assert main(["hub", "push", "street", "alice/other", "--pictures", "4"]) == 2
    (tmp_path / "street" / "README.md").unlink()
    assert main(["hub", "push", "street", "alice/other"]) == 2


def test_a_checkpoint_is_pushed_at_once(api: FakeApi, trained: Path) -> None:  # noqa: F811
    assert main(["hub", "push", str(trained), "alice/street", "--pictures", "0"]) == 0
    files = api.asked[-1][1]
    assert {*files} == {"config.json", "model.safetensors", "README.md"}
    assert b'load("alice/street")' in files["README.md"]
