"""VOC, alone and with SBD."""

from pathlib import Path
from typing import Any

import pytest

from deeplab_lightning.datamodules.voc import VOCDataModule
from deeplab_lightning.datasets.images import DataError
from tests.devkits import SBD_ONLY, VOC_TEST, VOC_TRAIN, VOC_VAL

SMALL: dict[str, Any] = {"batch_size": 2, "crop_size": (32, 40), "num_workers": 0}


def test_voc_with_sbd(voc_root: Path, sbd_root: Path) -> None:
    data = VOCDataModule(str(voc_root), str(sbd_root), "train_aug", **SMALL)
    assert data.num_classes == 21
    assert data.class_names[15] == "person"
    assert set(data.train_set().image_ids) == set(VOC_TRAIN + SBD_ONLY)
    ids = [image_id for batch in data.train_dataloader() for image_id in batch["image_id"]]
    assert sorted(ids) == sorted(VOC_TRAIN + SBD_ONLY)
    assert [batch["image_id"][0] for batch in data.val_dataloader()] == VOC_VAL
    identity = data.identity("val")
    assert identity["dataset"] == "VOC 2012"
    assert identity["split"] == "val"
    assert identity["labels"].startswith("VOC's own masks")


def test_voc_without_sbd(voc_root: Path) -> None:
    assert VOCDataModule(str(voc_root)).palette.colors[15] == (192, 128, 128)
    data = VOCDataModule(str(voc_root), train_split="trainval", test_split="test", **SMALL)
    assert data.train_set().image_ids == VOC_TRAIN + VOC_VAL
    assert [batch["image_id"][0] for batch in data.predict_dataloader()] == VOC_TEST
    with pytest.raises(DataError, match="the masks of VOC 2012's split 'test' are not public; use `deeplab predict`"):
        data.test_dataloader()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_split": "train_aug"}, "train_aug and trainval_aug need sbd_root"),
        ({"sbd_root": "sbd"}, "got sbd_root sbd with train_split train"),
        ({"sbd_root": "sbd", "train_split": "train_aug", "val_split": "trainval_aug"}, "are not scored"),
    ],
)
def test_invalid_voc_settings(voc_root: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VOCDataModule(str(voc_root), **settings)
