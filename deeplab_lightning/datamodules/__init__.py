"""Data sets under Lightning."""

from typing import TYPE_CHECKING

from deeplab_lightning.exports import exports

if TYPE_CHECKING:
    from deeplab_lightning.datamodules.ade20k import ADE20KDataModule as ADE20KDataModule
    from deeplab_lightning.datamodules.base import SegmentationDataModule as SegmentationDataModule
    from deeplab_lightning.datamodules.cityscapes import CityscapesDataModule as CityscapesDataModule
    from deeplab_lightning.datamodules.coco import COCODataModule as COCODataModule
    from deeplab_lightning.datamodules.coco_stuff import COCOStuffDataModule as COCOStuffDataModule
    from deeplab_lightning.datamodules.folder import FolderDataModule as FolderDataModule
    from deeplab_lightning.datamodules.pascal_context import PascalContextDataModule as PascalContextDataModule
    from deeplab_lightning.datamodules.person_part import PersonPartDataModule as PersonPartDataModule
    from deeplab_lightning.datamodules.shapes import ShapesDataModule as ShapesDataModule
    from deeplab_lightning.datamodules.voc import VOCDataModule as VOCDataModule

__getattr__ = exports(
    __name__,
    {
        "ADE20KDataModule": "ade20k",
        "CityscapesDataModule": "cityscapes",
        "COCODataModule": "coco",
        "COCOStuffDataModule": "coco_stuff",
        "FolderDataModule": "folder",
        "PascalContextDataModule": "pascal_context",
        "PersonPartDataModule": "person_part",
        "SegmentationDataModule": "base",
        "ShapesDataModule": "shapes",
        "VOCDataModule": "voc",
    },
)
