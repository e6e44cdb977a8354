"""Segmenting images with trained networks, without Lightning."""

from typing import TYPE_CHECKING

from deeplab_lightning.exports import exports

if TYPE_CHECKING:
    from deeplab_lightning.segmentation.loading import load as load
    from deeplab_lightning.segmentation.result import SegmentationResult as SegmentationResult
    from deeplab_lightning.segmentation.segmenter import Method as Method
    from deeplab_lightning.segmentation.segmenter import Segmenter as Segmenter

__getattr__ = exports(
    __name__,
    {
        "Method": "segmenter",
        "SegmentationResult": "result",
        "Segmenter": "segmenter",
        "load": "loading",
    },
)
