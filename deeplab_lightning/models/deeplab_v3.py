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
        backbone: "resnet18" to "resnet101", "xception41", "xception65", "xception71", "mobilenet_v2",
            "mobilenet_v3_large", an smp encoder name, or "tu-" and a timm name.
        output_stride: of the backbone: 8, 16 or 32.
        atrous_rates: of the ASPP, as used; double them when the output stride is halved. None leaves the 1x1 branch and
            image pooling, MobileNetV2's light head.
        multi_grid: unit rates of the ResNet's block4.
        stem: of the ResNet.
        stride_unit: of the ResNet's blocks; "first_dilated" exists for MobileNetV3 too.
        relu_after_depthwise: of the Xception.
        aspp_channels: of each ASPP branch and of the projection.
        image_pooling: have the image-level branch.
        dropout: after the projection.
        aspp_conv3x3: have one more 3x3 before the classifier, as torchvision and segmentation-models-pytorch do.
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
        relu_after_depthwise: bool = False,
        aspp_channels: int = 256,
        image_pooling: bool = True,
        dropout: float = 0.1,
        aspp_conv3x3: bool = False,
        pretrained: bool = False,
        align_corners: bool = False,
    ) -> None:
        super().__init__(num_classes, output_stride, align_corners)
        self.backbone = build_backbone(
            backbone,
            output_stride,
            multi_grid=multi_grid,
            stem=stem,
            stride_unit=stride_unit,
            relu_after_depthwise=relu_after_depthwise,
            pretrained=pretrained,
        )
        channels = self.backbone.out_channels
        self.aspp = ASPP(channels, atrous_rates, aspp_channels, image_pooling, dropout=dropout, conv3x3=aspp_conv3x3)
        self.classifier = classifier(aspp_channels, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to logits (B, K, H/stride, W/stride)."""
        logits: Tensor = self.classifier(self.aspp(self.backbone(images)[1]))
        return logits
