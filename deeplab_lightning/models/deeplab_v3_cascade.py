"""DeepLabv3 with atrous convolution in cascade (arXiv:1706.05587, section 3.2): block5 to block7, no ASPP."""

from collections.abc import Sequence

from torch import Tensor

from deeplab_lightning.models.layers import SegmentationNetwork, classifier
from deeplab_lightning.models.resnet import UNITS, ResNet, Stem, StrideUnit


class DeepLabV3Cascade(SegmentationNetwork):
    """A ResNet of four to seven blocks and a 1x1 classifier on the last (Figure 3, Tables 1 to 4).

    Args:
        num_classes: K, background included.
        backbone: "resnet18" to "resnet101".
        num_blocks: 4 to 7; block5 to block7 are copies of block4.
        output_stride: 8, 16, ... up to 2 ** (num_blocks + 1), where no block is atrous.
        multi_grid: unit rates of block4 and the blocks after it.
        stem: of the ResNet.
        stride_unit: of the ResNet's blocks.
        pretrained: load ImageNet weights into block1 to block4.
        align_corners: see `SegmentationNetwork`.
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
    ) -> None:
        super().__init__(num_classes, output_stride, align_corners)
        if backbone not in {f"resnet{depth}" for depth in UNITS}:
            raise ValueError(f"backbone must be one of {[f'resnet{depth}' for depth in UNITS]}, got {backbone!r}")
        depth = int(backbone.removeprefix("resnet"))
        self.backbone = ResNet(
            depth,
            output_stride,
            multi_grid,
            stem,
            stride_unit=stride_unit,
            num_blocks=num_blocks,
            pretrained=pretrained,
        )
        self.classifier = classifier(self.backbone.out_channels, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to logits (B, K, H/stride, W/stride)."""
        logits: Tensor = self.classifier(self.backbone(images)[1])
        return logits
