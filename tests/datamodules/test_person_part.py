from pathlib import Path
from typing import Any

from deeplab_lightning.datamodules.person_part import PersonPartDataModule
from tests.devkits import VOC_VAL, write_person_part

SMALL: dict[str, Any] = {"batch_size": 2, "crop_size": (32, 40), "num_workers": 0}


def test_person_part(voc_root: Path, tmp_path: Path) -> None:
    labels = write_person_part(tmp_path / "pascal_person_part", voc_root)
    data = PersonPartDataModule(str(voc_root), str(labels), **SMALL)
    assert data.num_classes == 7
    assert len(list(data.train_dataloader())) == 1
    assert [batch["image_id"][0] for batch in data.val_dataloader()] == VOC_VAL[:2]
