from pathlib import Path
from typing import Any

import pytest

from deeplab_lightning.datamodules.ade20k import ADE20KDataModule
from deeplab_lightning.datasets.images import DataError
from tests.devkits import write_ade20k

SMALL: dict[str, Any] = {"batch_size": 2, "crop_size": (32, 40), "num_workers": 0}


def test_ade20k(tmp_path: Path) -> None:
    data = ADE20KDataModule(str(write_ade20k(tmp_path / "ade")), test_split="testing", **SMALL)
    assert data.num_classes == 150
    assert len(list(data.train_dataloader())) == 2
    assert len(list(data.val_dataloader())) == 2
    assert [batch["image_id"][0] for batch in data.predict_dataloader()] == ["ADE_test_00000001", "ADE_test_00000002"]
    with pytest.raises(DataError, match="ADE20K's split 'testing' are not public"):
        data.test_dataloader()
