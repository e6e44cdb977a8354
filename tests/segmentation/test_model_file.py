import shutil
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deeplab_lightning import load
from deeplab_lightning.description import ModelDescription
from deeplab_lightning.modules import SegmentationModule
from deeplab_lightning.palette import Palette
from deeplab_lightning.segmentation.model_file import OF_THE_TRAINING, assemble, describe, keep_crf, read_model, slim
from tests.segmentation.models import NAMES, PIXELS

BEFORE = Path(__file__).parents[1] / "runs_of_before" / "half" / "last.ckpt"


def changed(checkpoint: Path, folder: Path, **changes: Any) -> Path:
    content = torch.load(checkpoint, weights_only=True)
    torch.save(content | changes, folder / "changed.ckpt")
    return folder / "changed.ckpt"


def test_a_checkpoint_of_before_is_reconstructed_and_says_so() -> None:
    model = read_model(BEFORE)
    assert model.description.score is None
    assert "no description" in model.description.assumed[0]
    assert model.layers is not None  # it was trained with a CRF as layers
    result = load(BEFORE, device="cpu").segment(np.zeros((20, 30, 3), np.uint8))
    assert result.mask.shape == (20, 30)
    assert result.remarks == model.description.assumed


def test_the_names_of_the_trainings_settings_are_complete() -> None:
    names = set(signature(SegmentationModule).parameters) - {"num_classes", "network"}
    assert names <= OF_THE_TRAINING


def test_a_slim_checkpoint_segments_the_same(checkpoint: Path, tmp_path: Path) -> None:
    content = slim(checkpoint)
    assert "optimizer_states" not in content
    torch.save(content, tmp_path / "slim.ckpt")
    assert (tmp_path / "slim.ckpt").stat().st_size < checkpoint.stat().st_size
    assert read_model(tmp_path / "slim.ckpt").digest == read_model(checkpoint).digest


def test_the_digest_changes_with_a_weight(checkpoint: Path, tmp_path: Path) -> None:
    tensors = torch.load(checkpoint, weights_only=True)["state_dict"]
    tensors["network.classifier.bias"][0] += 1
    assert read_model(changed(checkpoint, tmp_path, state_dict=tensors)).digest != read_model(checkpoint).digest


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"description": {}}, "entries"),
        ({"description": None, "hyper_parameters": {}}, "entries"),
        ({"state_dict": {"network.x": torch.zeros(1)}}, "do not fit DeepLabV3"),
    ],
)
def test_faulty_models_are_refused_by_name(
    checkpoint: Path, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    path = changed(checkpoint, tmp_path, **changes)
    with pytest.raises(ValueError, match=f"changed.ckpt: .*{named}"):
        read_model(path)


def test_an_output_stride_that_cannot_be_chosen_is_refused() -> None:
    description = ModelDescription("DeepLabV1", {"num_classes": 3}, Palette.voc(NAMES), PIXELS)
    with pytest.raises(ValueError, match="DeepLabV1 has one output stride"):
        assemble(description, {}, output_stride=8)


@pytest.mark.parametrize(
    ("checkpoint_values", "named"),
    [
        ({}, "neither"),
        ({"hyper_parameters": {"num_classes": 2}, "module": "Linear"}, "Linear"),
        ({"hyper_parameters": {"num_classes": 2}}, "None"),
        ({"hyper_parameters": {"num_classes": 2, "normalization": "?"}, "module": "DeepLabV3Module"}, "cannot be used"),
    ],
)
def test_checkpoints_without_settings_are_refused(checkpoint_values: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        describe(checkpoint_values)


def test_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parent, tmp_path / "folder")
    with pytest.raises(FileNotFoundError, match="folder"):
        load(tmp_path / "folder")


def test_a_crf_setting_is_kept_beside_everything_else(checkpoint: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(checkpoint, tmp_path / "model.ckpt"))
    assert keep_crf(path, {"bilateral_xy": 12.0})
    assert not keep_crf(path, {"bilateral_xy": 12.0})
    assert read_model(path).description.crf == {"bilateral_xy": 12.0}
    before, after = (torch.load(each, weights_only=True) for each in (checkpoint, path))
    assert before.keys() == after.keys()
    assert torch.equal(before["optimizer_states"][0]["state"], after["optimizer_states"][0]["state"])
    assert keep_crf(path, None)
    assert read_model(path).digest == read_model(checkpoint).digest
