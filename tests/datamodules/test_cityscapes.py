from pathlib import Path
from typing import Any

import pytest

from deeplab_lightning.datamodules.cityscapes import CityscapesDataModule
from deeplab_lightning.datasets.images import DataError
from tests.devkits import SIZE, write_cityscapes

SMALL: dict[str, Any] = {"batch_size": 2, "crop_size": (32, 40), "num_workers": 0, "image_size": SIZE}


def test_cityscapes(tmp_path: Path) -> None:
    data = CityscapesDataModule(str(write_cityscapes(tmp_path / "cityscapes")), test_split="test", **SMALL)
    assert data.num_classes == 19
    assert data.published_images["train"] == 2975
    assert len(list(data.train_dataloader())) == 4
    assert [batch["mask"].shape for batch in data.val_dataloader()] == [(1, *SIZE)] * 4
    assert [batch["image_id"][0][:6] for batch in data.predict_dataloader()] == ["berlin"] * 3
    with pytest.raises(DataError, match="Cityscapes's split 'test' are not public"):
        data.test_dataloader()


def test_half_resolution_is_part_of_the_identity(tmp_path: Path) -> None:
    root = str(write_cityscapes(tmp_path / "cityscapes"))
    whole, half = (CityscapesDataModule(root, half_resolution=half, **SMALL) for half in (False, True))
    assert whole.identity("val") != half.identity("val")
    assert next(iter(half.val_dataloader()))["mask"].shape == (1, SIZE[0] // 2, SIZE[1] // 2)


@pytest.mark.parametrize(
    "settings", [{"val_split": "train_coarse"}, {"test_split": "train_extra"}, {"val_split": "test"}]
)
def test_splits_that_cannot_be_scored(tmp_path: Path, settings: dict[str, Any]) -> None:
    root = str(write_cityscapes(tmp_path / "cityscapes"))
    with pytest.raises(ValueError, match=next(iter(settings.values()))):
        CityscapesDataModule(root, **settings)
