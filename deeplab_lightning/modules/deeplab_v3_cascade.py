"""DeepLabv3's cascade under Lightning."""

from collections.abc import Sequence
from typing import Any

from deeplab_lightning.models.deeplab_v3_cascade import DeepLabV3Cascade
from deeplab_lightning.models.resnet import Stem, StrideUnit
from deeplab_lightning.modules.base import SegmentationModule


class DeepLabV3CascadeModule(SegmentationModule):
    """DeepLabv3 with blocks in cascade and no ASPP (arXiv:1706.05587, section 3.2).

    Args:
        num_classes: K, background included; from the command line it follows from the data.
        backbone: "resnet18" to "resnet101".
        num_blocks: 4 to 7; block5 to block7 are copies of block4.
        output_stride: 8, 16, ... up to 2 ** (num_blocks + 1), where no block is atrous.
        multi_grid: unit rates of block4 and the blocks after it.
        stem: of the ResNet: "conv7x7" or "three_conv3x3".
        stride_unit: unit of a block that strides: "first" as in torchvision, "last" as in TensorFlow.
        pretrained: load ImageNet weights into block1 to block4.
        align_corners: grid of every bilinear resize: False as in torchvision, True as in the TensorFlow release.
        kwargs: see `SegmentationModule`.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet101",
        num_blocks: int = 7,
        output_stride: int = 16,
        multi_grid: Sequence[int] = (1, 1, 1),
        stem: Stem = "conv7x7",
        stride_unit: StrideUnit = "first",
        pretrained: bool = False,
        align_corners: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, **kwargs)
        network = DeepLabV3Cascade(
            num_classes,
            backbone=backbone,
            num_blocks=num_blocks,
            output_stride=output_stride,
            multi_grid=multi_grid,
            stem=stem,
            stride_unit=stride_unit,
            pretrained=pretrained,
            align_corners=align_corners,
        )
        self.set_network(network)
