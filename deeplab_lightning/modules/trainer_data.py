"""The datamodule of a trainer, from which modules and callbacks learn classes, colours and pixel values."""

from typing import TYPE_CHECKING, Optional

from lightning import Trainer

if TYPE_CHECKING:
    from deeplab_lightning.datamodules.base import SegmentationDataModule


def find_datamodule(trainer: Trainer) -> Optional["SegmentationDataModule"]:
    """Return the datamodule that a trainer was given, or None if it has loaders alone."""
    data: SegmentationDataModule | None = getattr(trainer, "datamodule", None)
    return data


def datamodule_of(trainer: Trainer) -> "SegmentationDataModule":
    """Return the datamodule that a trainer was given.

    Raises:
        ValueError: It was given loaders, which know neither classes nor colours nor pixel values.
    """
    data = find_datamodule(trainer)
    if data is None:
        raise ValueError(
            "the trainer was given loaders, which know neither classes nor colours nor pixel values; give it one of "
            "deeplab_lightning's datamodules, as in trainer.fit(module, datamodule=FolderDataModule('my_data'))"
        )
    return data
