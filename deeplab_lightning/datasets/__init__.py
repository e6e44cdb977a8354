"""Data sets and transforms, without Lightning."""

from typing import TYPE_CHECKING

from deeplab_lightning.exports import exports

if TYPE_CHECKING:
    from deeplab_lightning.datasets.ade20k import ADE20KDataset as ADE20KDataset
    from deeplab_lightning.datasets.cityscapes import CityscapesDataset as CityscapesDataset
    from deeplab_lightning.datasets.coco import COCODataset as COCODataset
    from deeplab_lightning.datasets.coco_stuff import COCOStuffDataset as COCOStuffDataset
    from deeplab_lightning.datasets.folder import FolderDataset as FolderDataset
    from deeplab_lightning.datasets.images import DataError as DataError
    from deeplab_lightning.datasets.pascal_context import PascalContextDataset as PascalContextDataset
    from deeplab_lightning.datasets.person_part import PersonPartDataset as PersonPartDataset
    from deeplab_lightning.datasets.segmentation import SegmentationDataset as SegmentationDataset
    from deeplab_lightning.datasets.transforms import EvaluationTransform as EvaluationTransform
    from deeplab_lightning.datasets.transforms import TrainTransform as TrainTransform
    from deeplab_lightning.datasets.voc import VOCDataset as VOCDataset

__getattr__ = exports(
    __name__,
    {
        "ADE20KDataset": "ade20k",
        "CityscapesDataset": "cityscapes",
        "COCODataset": "coco",
        "COCOStuffDataset": "coco_stuff",
        "DataError": "images",
        "EvaluationTransform": "transforms",
        "FolderDataset": "folder",
        "PascalContextDataset": "pascal_context",
        "PersonPartDataset": "person_part",
        "SegmentationDataset": "segmentation",
        "TrainTransform": "transforms",
        "VOCDataset": "voc",
    },
)
