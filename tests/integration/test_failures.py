"""Every failure of a command gives one sentence on standard error, and exit status 1 or 2."""

import re
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from PIL import Image

from tests.integration.conftest import Failure


@pytest.fixture
def data(shapes_root: Path, tmp_path: Path) -> Path:
    """A copy of the data that a test may damage."""
    return Path(copytree(shapes_root, tmp_path / "data"))


def test_unknown_command(failure: Failure) -> None:
    assert "there is no command 'fti'; did you mean fit? The commands are train, fit, validate" in failure("fti")


def test_missing_data_root(failure: Failure, experiment: list[str]) -> None:
    assert "data root '/nowhere' does not exist" in failure("fit", *experiment, "--data.root", "/nowhere")


def test_empty_data_root(failure: Failure, experiment: list[str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty is empty" in failure("fit", *experiment, "--data.root", tmp_path / "empty")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_truncated_image(failure: Failure, experiment: list[str], data: Path, num_workers: int) -> None:
    path = data / "JPEGImages" / "val_00000.jpg"
    path.write_bytes(path.read_bytes()[:300])
    message = failure("fit", *experiment, "--data.root", data, "--data.num_workers", num_workers)
    assert f"{path}: cannot be read as an image" in message


def test_mask_of_another_size(failure: Failure, experiment: list[str], data: Path) -> None:
    Image.new("P", (10, 12)).save(data / "SegmentationClass" / "val_00000.png")
    message = failure("fit", *experiment, "--data.root", data)
    assert re.search(r"val_00000\.png: .*10x12.*val_00000\.jpg is 64x48", message)


def test_mask_value_outside_the_classes(failure: Failure, experiment: list[str], data: Path) -> None:
    Image.fromarray(np.full((48, 64), 37, np.uint8)).save(data / "SegmentationClass" / "val_00000.png")
    assert "val_00000.png: mask value 37 is outside the 8 classes" in failure("fit", *experiment, "--data.root", data)


def test_colour_mask(failure: Failure, experiment: list[str], data: Path) -> None:
    Image.new("RGB", (64, 48)).save(data / "SegmentationClass" / "val_00000.png")
    assert "val_00000.png: the mask is in mode RGB" in failure("fit", *experiment, "--data.root", data)


def test_unknown_key_in_yaml(failure: Failure, experiment: list[str], tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("trainer: {max_stepps: 3}\n")
    message = failure("fit", *experiment, "-c", tmp_path / "wrong.yaml")
    assert "max_stepps" in message


def test_unknown_option(failure: Failure, experiment: list[str]) -> None:
    assert "multi_gird" in failure("fit", *experiment, "--model.multi_gird", "[1, 2, 4]")


def test_missing_config(failure: Failure) -> None:
    assert "nowhere.yaml" in failure("fit", "-c", "nowhere.yaml")


def test_num_classes_that_disagrees_with_the_data(failure: Failure, experiment: list[str], tmp_path: Path) -> None:
    expected = "num_classes follows from the data"
    assert expected in failure("fit", *experiment, "--model.num_classes", "5")
    (tmp_path / "five.yaml").write_text("model: {init_args: {num_classes: 5}}\n")
    assert expected in failure("fit", *experiment, "-c", tmp_path / "five.yaml")


def test_checkpoint_of_another_class_count(failure: Failure, experiment: list[str], data: Path, finished: Path) -> None:
    names = (data / "class_names.txt").read_text()
    (data / "class_names.txt").write_text(names + "ninth\n")
    for command in ("test", "fit"):
        message = failure(command, *experiment, "--data.root", data, "--ckpt_path", finished / "last.ckpt")
        assert "last.ckpt was trained for 8 classes, but the data has 9" in message


def test_missing_checkpoint(failure: Failure, experiment: list[str]) -> None:
    assert "nowhere.ckpt" in failure("test", *experiment, "--ckpt_path", "nowhere.ckpt")


def test_truncated_checkpoint(failure: Failure, experiment: list[str], tmp_path: Path) -> None:
    (tmp_path / "cut.ckpt").write_bytes(b"PK\x03\x04 and no more")
    message = failure("test", *experiment, "--ckpt_path", tmp_path / "cut.ckpt")
    assert "cut.ckpt: it is " in message


def test_no_last_checkpoint_to_score(failure: Failure, experiment: list[str]) -> None:
    assert "last.ckpt: no such checkpoint" in failure("test", *experiment, "--ckpt_path", "last")


def test_weights_without_a_network(
    failure: Failure, experiment: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", refuse)
    message = failure("fit", *experiment, "--model.pretrained", "true")
    assert "weights of mobilenet_v2 cannot be downloaded (no network); set pretrained to false" in message
