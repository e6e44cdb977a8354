"""A model comes back from its folder as it was; damaged and foreign folders are refused by name."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from safetensors.torch import load_file, save_file

from deeplab_lightning import Segmenter, load
from deeplab_lightning.published.reading import read_weights
from deeplab_lightning.segmentation.model_file import read_model
from deeplab_lightning.segmentation.model_folder import read_folder, write_folder

BEFORE = Path(__file__).parents[1] / "runs_of_before" / "half" / "last.ckpt"


@pytest.fixture(scope="module")
def whole(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    write_folder(read_model(checkpoint), folder)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def change(folder: Path, **changes: Any) -> None:
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))


def describe_otherwise(folder: Path, **changes: Any) -> None:
    change(folder, description=json.loads((folder / "config.json").read_text())["description"] | changes)


@pytest.mark.parametrize("own", [True, False], ids=["network", "network and CRF as layers"])
def test_a_model_comes_back_as_it_was(own: bool, checkpoint: Path, tmp_path: Path) -> None:
    before = read_model(checkpoint if own else BEFORE)
    assert (before.layers is None) == own
    write_folder(before, tmp_path / "folder")
    after = read_folder(tmp_path / "folder")
    assert after.description == before.description
    assert after.digest == before.digest
    assert after.tensors().keys() == before.tensors().keys()
    assert all(torch.equal(tensor, before.tensors()[name]) for name, tensor in after.tensors().items())
    images = torch.randn(1, 3, 40, 56)
    networks = [Segmenter(model, "cpu").network for model in (before, after)]  # with one order in memory
    assert torch.equal(*(network(images) for network in networks))


def test_channels_last_weights_are_written(checkpoint: Path, tmp_path: Path) -> None:
    model = read_model(checkpoint)
    model.network.to(memory_format=torch.channels_last)
    write_folder(model, tmp_path / "folder")
    assert read_folder(tmp_path / "folder").digest == model.digest
    assert read_folder(tmp_path / "folder", output_stride=8).network.output_stride == 8


def test_a_graph_without_weights_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    graph: Any = torch.nn.Identity()
    with pytest.raises(ValueError, match=r"folder: .*checkpoint"):
        write_folder(replace(read_model(checkpoint), network=graph), tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def with_nan(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["network.classifier.bias"][0] = torch.nan
    rewrite(folder, tensors)


def rewrite(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, folder / "model.safetensors")
    change(folder, weights_sha256=hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest())


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "config.json").unlink(), r"model: it has no config\.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"model: it has no model\.safetensors"),
        (lambda folder: (folder / "config.json").write_text("{"), r"config\.json: .*JSON"),
        (lambda folder: change(folder, format_version=2), r"config\.json: .*format_version is 2"),
        (lambda folder: change(folder, description=3), r"config\.json: .*description"),
        (lambda folder: describe_otherwise(folder, palette=None), r"config\.json: its palette"),
        (lambda folder: describe_otherwise(folder, network="os.system"), r"model\.safetensors: .*'os\.system'"),
        (lambda folder: describe_otherwise(folder, network="LRASPP"), r"model\.safetensors: .*LRASPP"),
        (lambda folder: change(folder, library_name="transformers"), r"model\.safetensors: .*known source"),
        (lambda folder: change(folder, weights_sha256=""), r"model\.safetensors: its SHA-256"),
        (lambda folder: flip_a_bit(folder / "model.safetensors"), r"model\.safetensors: its SHA-256"),
        (with_nan, r"model\.safetensors: 1 of its .*classifier\.bias"),
        (lambda folder: rewrite(folder, {"network.x": torch.zeros(2)}), r"model\.safetensors: .*do not fit DeepLabV3"),
    ],
)
def test_damaged_folders_are_refused_by_name(folder: Path, damage: Callable[[Path], Any], words: str) -> None:
    damage(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        read_folder(folder)


def test_truncated_weights_are_refused_with_any_checksum(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    change(folder, weights_sha256=hashlib.sha256(weights.read_bytes()).hexdigest())
    with pytest.raises(ValueError, match=r"model\.safetensors: .*damaged"):
        read_folder(folder)


def test_a_run_folder_names_its_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "best.ckpt").touch()
    with pytest.raises(FileNotFoundError, match=r"best\.ckpt"):
        load(tmp_path)


def test_a_misspelt_path_is_not_asked_for_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="runs/demp: .*runs/demp@main"):
        load("runs/demp")
    with pytest.raises(FileNotFoundError, match=r"runs/best\.ckpt: no such checkpoint$"):
        load("runs/best.ckpt")


def test_folders_of_other_projects_are_imported(tmp_path: Path) -> None:
    source = smp.DeepLabV3Plus("resnet18", encoder_weights=None, classes=4, decoder_channels=16)
    source.save_pretrained(tmp_path)
    imported: Any = read_weights(tmp_path)[1]
    model = read_folder(tmp_path)
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(model.network(images), imported.network(images))
    assert model.description.class_names == ("0", "1", "2", "3")
    assert model.description.assumed
