"""DeepLabv3 with atrous convolution in cascade (arXiv:1706.05587, section 3.2): block5 to block7, no ASPP."""

from typing import Any

from torch import Tensor

from deeplab_lightning.models.imagenet import asks_for_imagenet
from deeplab_lightning.models.layers import SegmentationNetwork, classifier
from deeplab_lightning.models.resnet import RESNETS, ResNet


class DeepLabV3Cascade(SegmentationNetwork):
    """A ResNet of four to seven blocks and a 1x1 classifier on the last block (Figure 3, Tables 1 to 4).

    Args:
        num_classes: Number of classes K, background included.
        backbone: One of "resnet18" to "resnet101".
        num_blocks: Number of blocks, 4 to 7; block5 to block7 are copies of block4.
        output_stride: Output stride: 8, 16, ... up to 2 ** (num_blocks + 1), where no block is atrous.
        align_corners: Grid of every bilinear resize: False as in torchvision, True as in the TensorFlow release.
        pretrained: ImageNet weights are loaded up to block4; on the command line, also those of a name in
            `deeplab weights list`.
        resnet_settings: Further arguments of `ResNet`.

    Raises:
        ValueError: The backbone is not a ResNet, or `ResNet` refuses a setting.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet101",
        num_blocks: int = 7,
        output_stride: int = 16,
        *,
        align_corners: bool = False,
        pretrained: bool | str = False,
        **resnet_settings: Any,
    ) -> None:
        super().__init__(num_classes, output_stride, align_corners)
        if backbone not in RESNETS:
            raise ValueError(f"backbone must be one of {[*RESNETS]}, got {backbone!r}")
        self.backbone = ResNet(
            RESNETS[backbone],
            output_stride,
            num_blocks=num_blocks,
            low_level_features="block",
            pretrained=asks_for_imagenet(pretrained),
            **resnet_settings,
        )
        self.classifier = classifier(self.backbone.out_channels, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, K, H/stride, W/stride)."""
        logits: Tensor = self.classifier(self.backbone(images)[1])
        return logits
