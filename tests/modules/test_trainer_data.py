"""Modules and callbacks find the trainer's datamodule, and say what is missing with plain loaders."""

from pathlib import Path

import pytest
from lightning import Trainer

from deeplab_lightning.datamodules.folder import FolderDataModule
from deeplab_lightning.modules.trainer_data import datamodule_of, find_datamodule


def test_the_datamodule_of_a_trainer(shapes_root: Path) -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    assert find_datamodule(trainer) is None
    with pytest.raises(ValueError, match="loaders.*datamodule="):
        datamodule_of(trainer)
    data = FolderDataModule(str(shapes_root))
    trainer.datamodule = data  # type: ignore[attr-defined]  # as Lightning does
    assert find_datamodule(trainer) is datamodule_of(trainer) is data
