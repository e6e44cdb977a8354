"""DeepLabv3 (arXiv:1706.05587): a dilated backbone, ASPP, a classifier."""

from collections.abc import Sequence

from torch import Tensor

from deeplab_lightning.models.aspp import ASPP
from deeplab_lightning.models.encoders import build_backbone
from deeplab_lightning.models.layers import SegmentationNetwork, classifier
from deeplab_lightning.models.resnet import Stem, StrideUnit


class DeepLabV3(SegmentationNetwork):
    """Backbone, ASPP with image pooling, 1x1 classifier (section 3.3).

    Args:
        num_classes: K, background included.
        backbone: "resnet18" to "resnet101", an smp encoder name, or "tu-" and a timm name.
        output_stride: of the backbone: 8, 16 or 32.
        atrous_rates: of the ASPP, as used; double them when the output stride is halved.
        multi_grid: unit rates of the ResNet's last stage.
        stem: of the ResNet.
        stride_unit: of the ResNet's stages.
        aspp_channels: of each ASPP branch and of the projection.
        image_pooling: have the image-level branch.
        dropout: before the classifier.
        pretrained: load ImageNet weights into the backbone.
        align_corners: see `SegmentationNetwork`.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet101",
        output_stride: int = 16,
        atrous_rates: Sequence[int] = (6, 12, 18),
        multi_grid: Sequence[int] = (1, 1, 1),
        stem: Stem = "conv7x7",
        stride_unit: StrideUnit = "first",
        aspp_channels: int = 256,
        image_pooling: bool = True,
        dropout: float = 0.1,
        pretrained: bool = False,
        align_corners: bool = False,
    ) -> None:
        super().__init__(num_classes, output_stride, align_corners)
        self.backbone = build_backbone(backbone, output_stride, multi_grid, stem, stride_unit, pretrained)
        channels = self.backbone.out_channels
        self.aspp = ASPP(channels, atrous_rates, aspp_channels, image_pooling, dropout=dropout)
        self.classifier = classifier(aspp_channels, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to logits (B, K, H/stride, W/stride)."""
        logits: Tensor = self.classifier(self.aspp(self.backbone(images)[1]))
        return logits
