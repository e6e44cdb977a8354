"""Automatic class weights: their numbers, where these are kept, and what a resume does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from lightning import Trainer
from PIL import Image
from torch import nn

from deeplab_lightning.datamodules.folder import FolderDataModule
from deeplab_lightning.datasets.folder import FolderDataset
from deeplab_lightning.models.layers import SegmentationNetwork
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.start_from import keep_settings


class OneLayer(SegmentationNetwork):
    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, 1)
        self.classifier = nn.Conv2d(3, num_classes, 1)


class OneLayerModule(SegmentationModule):
    def configure_network(self, num_classes: int) -> OneLayer:  # type: ignore[override]
        return OneLayer(num_classes)


def module(class_weights: list[float] | Literal["auto"] | None, data: FolderDataModule | None) -> OneLayerModule:
    """A module whose trainer has the data."""
    built = OneLayerModule(8, class_weights=class_weights)
    built.trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    built.trainer.datamodule = data  # type: ignore[attr-defined]
    return built


@pytest.fixture
def data(shapes_root: Path) -> FolderDataModule:
    return FolderDataModule(str(shapes_root), num_workers=0)


def by_hand(root: Path) -> Sequence[float]:
    """The median share divided by each class's share of the labelled pixels in the images that hold it."""
    ids = (root / "ImageSets/Segmentation/train.txt").read_text().split()
    masks = [np.asarray(Image.open(root / "SegmentationClass" / f"{each}.png")) for each in ids]
    assert any((mask == 255).any() for mask in masks)
    shares = []
    for label in range(8):
        holding = [mask for mask in masks if (mask == label).any()]
        shares.append(sum((mask == label).sum() for mask in holding) / sum((mask != 255).sum() for mask in holding))
    return [float(np.median(shares) / share) for share in shares]


def test_a_training_weighs_by_median_frequency(
    data: FolderDataModule, shapes_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = module("auto", data)
    own.setup("validate")
    assert own.class_weights is not None
    assert own.class_weights.isnan().all()
    own.setup("fit")
    np.testing.assert_allclose(own.class_weights, by_hand(shapes_root), rtol=1e-6)
    assert own.loss_context().class_weights is own.class_weights
    numbers = own.hparams["class_weights"]
    assert own.hparams_initial["class_weights"] == numbers  # which loggers record
    np.testing.assert_allclose(numbers, by_hand(shapes_root))
    assert OneLayerModule(**own.hparams).hparams["class_weights"] == numbers

    monkeypatch.setattr(FolderDataset, "mask", lambda *_: pytest.fail("counted again"))
    other = module("auto", data)
    other.setup("fit")
    assert other.hparams["class_weights"] == numbers


def test_a_resume_keeps_the_numbers_of_its_checkpoint(data: FolderDataModule) -> None:
    saved: dict[str, Any] = {"hyper_parameters": {"class_weights": [2.0] * 8}}
    for weights, expected in (("auto", 2.0), ([3.0] * 8, 3.0)):
        own = module(weights, data)  # type: ignore[arg-type]
        own.setup("fit")
        keep_settings(saved, own)
        assert own.class_weights is not None
        assert own.class_weights.tolist() == own.hparams["class_weights"] == [expected] * 8
    own = module("auto", data)
    own.setup("fit")
    before = own.class_weights
    keep_settings({"hyper_parameters": {"class_weights": None}}, own)
    assert before is not None
    assert torch.equal(before, torch.as_tensor(own.hparams["class_weights"]))


def test_they_need_data_and_a_loss_of_pixels() -> None:
    with pytest.raises(ValueError, match="'auto'.*datamodule"):
        module("auto", None).setup("fit")
    with pytest.raises(ValueError, match="class_weights have no effect on dice"):
        OneLayerModule(8, class_weights="auto", loss={"dice": 1.0})
