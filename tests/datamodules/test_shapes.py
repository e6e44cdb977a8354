"""The Shapes datamodule, which generates its data."""

from pathlib import Path
from typing import Any

from deeplab_lightning.datamodules.shapes import ShapesDataModule

SMALL: dict[str, Any] = {"batch_size": 4, "crop_size": (32, 40), "num_workers": 0}


def test_shapes_generates_itself(tmp_path: Path) -> None:
    data = ShapesDataModule(str(tmp_path / "s"), num_train=5, num_val=2, image_size=(32, 48), **SMALL)
    data.prepare_data()
    assert len(list(data.train_dataloader())) == 1
    assert len(list(data.test_dataloader())) == 2
