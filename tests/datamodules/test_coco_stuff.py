"""COCO-Stuff's releases."""

from pathlib import Path
from typing import Any

from deeplab_lightning.datamodules.coco_stuff import COCOStuffDataModule
from tests.devkits import write_coco_stuff

SMALL: dict[str, Any] = {"batch_size": 2, "crop_size": (32, 40), "num_workers": 0}


def test_coco_stuff(tmp_path: Path) -> None:
    data = COCOStuffDataModule(str(write_coco_stuff(tmp_path / "stuff")), "10k", **SMALL)
    assert data.num_classes == 182
    assert len(list(data.train_dataloader())) == 1
    assert [batch["image_id"][0] for batch in data.val_dataloader()] == ["b1", "b2"]
