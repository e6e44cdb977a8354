"""The DeepLab family (v1, v2, v3, v3+) as one PyTorch Lightning experiment repository."""

from typing import TYPE_CHECKING

from deeplab_lightning.exports import exports

__version__ = "0.1.0"

IGNORE_INDEX = 255
"""The mask value of void pixels, which losses and metrics ignore."""

if TYPE_CHECKING:
    from deeplab_lightning.crf.dense_crf import DenseCRF as DenseCRF
    from deeplab_lightning.datamodules.base import SegmentationDataModule as SegmentationDataModule
    from deeplab_lightning.datamodules.coco import COCODataModule as COCODataModule
    from deeplab_lightning.datamodules.folder import FolderDataModule as FolderDataModule
    from deeplab_lightning.datamodules.shapes import ShapesDataModule as ShapesDataModule
    from deeplab_lightning.datamodules.voc import VOCDataModule as VOCDataModule
    from deeplab_lightning.modules.base import SegmentationModule as SegmentationModule
    from deeplab_lightning.modules.deeplab_v1 import DeepLabV1Module as DeepLabV1Module
    from deeplab_lightning.modules.deeplab_v2 import DeepLabV2Module as DeepLabV2Module
    from deeplab_lightning.modules.deeplab_v3 import DeepLabV3Module as DeepLabV3Module
    from deeplab_lightning.modules.deeplab_v3_cascade import DeepLabV3CascadeModule as DeepLabV3CascadeModule
    from deeplab_lightning.modules.deeplab_v3plus import DeepLabV3PlusModule as DeepLabV3PlusModule
    from deeplab_lightning.segmentation.loading import load as load
    from deeplab_lightning.segmentation.result import SegmentationResult as SegmentationResult
    from deeplab_lightning.segmentation.segmenter import Segmenter as Segmenter

__getattr__ = exports(
    __name__,
    {
        "load": "segmentation.loading",
        "Segmenter": "segmentation.segmenter",
        "SegmentationResult": "segmentation.result",
        "DenseCRF": "crf.dense_crf",
        "DeepLabV1Module": "modules.deeplab_v1",
        "DeepLabV2Module": "modules.deeplab_v2",
        "DeepLabV3Module": "modules.deeplab_v3",
        "DeepLabV3CascadeModule": "modules.deeplab_v3_cascade",
        "DeepLabV3PlusModule": "modules.deeplab_v3plus",
        "SegmentationModule": "modules.base",
        "SegmentationDataModule": "datamodules.base",
        "COCODataModule": "datamodules.coco",
        "FolderDataModule": "datamodules.folder",
        "ShapesDataModule": "datamodules.shapes",
        "VOCDataModule": "datamodules.voc",
    },
)
