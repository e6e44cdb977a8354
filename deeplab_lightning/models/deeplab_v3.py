"""DeepLabv3 (arXiv:1706.05587): an atrous backbone, ASPP, a classifier."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from deeplab_lightning.models.aspp import ASPP, Conv3x3, atrous_conv
from deeplab_lightning.models.dense_prediction_cell import DensePredictionCell
from deeplab_lightning.models.encoders import build_backbone
from deeplab_lightning.models.layers import SegmentationNetwork, classifier, conv_bn_relu


class DeepLabV3Encoder(SegmentationNetwork):
    """The backbone and the ASPP, which DeepLabv3 and v3+ share (v3, section 3.3; v3+, section 3.1).

    Args:
        num_classes: Number of classes K, background included.
        backbone: One of "resnet18" to "resnet101", "xception41", "xception65", "xception71", "mobilenet_v2",
            "mobilenet_v3_large", "mobilenet_v3_large_seg", "mobilenet_v3_small_seg", an smp encoder name, or "tu-" and
            a timm name.
        output_stride: Output stride of the backbone: 8, 16 or 32.
        atrous_rates: Rates of the ASPP as used: (6, 12, 18) at output stride 16, (12, 24, 36) at 8. An empty list
            leaves the 1x1 branch and image pooling, MobileNetV2's light head, or nothing for a dense prediction cell.
        aspp_channels: Number of channels of each ASPP branch and of the projection.
        image_pooling: The ASPP has the image-level branch.
        dropout: Probability of dropout after the ASPP's projection.
        aspp_conv3x3: One more 3x3 convolution follows the ASPP, as in torchvision and segmentation-models-pytorch.
            "projection": the ASPP's projection is a 3x3 convolution, as in mmsegmentation.
        dense_prediction_cell: The searched cell of arXiv:1809.04184 takes the place of the ASPP; it has rates of its
            own and no image pooling.
        branch: Builder of the ASPP's 3x3 branches.
        conv: Builder of other 3x3 convolutions.
        align_corners: Grid of every bilinear resize: False as in torchvision, True as in the TensorFlow release.
        backbone_settings: Further arguments of `build_backbone`.

    Raises:
        ValueError: A setting is invalid, or has no effect beside a dense prediction cell.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet101",
        output_stride: int = 16,
        atrous_rates: Sequence[int] = (6, 12, 18),
        *,
        aspp_channels: int = 256,
        image_pooling: bool = True,
        dropout: float = 0.1,
        aspp_conv3x3: Conv3x3 = False,
        dense_prediction_cell: bool = False,
        branch: Callable[..., nn.Sequential],
        conv: Callable[..., nn.Sequential],
        align_corners: bool = False,
        **backbone_settings: Any,
    ) -> None:
        super().__init__(num_classes, output_stride, align_corners)
        self.backbone = build_backbone(backbone, output_stride, **backbone_settings)
        channels = self.backbone.out_channels
        if dense_prediction_cell:
            if len(atrous_rates) or image_pooling or aspp_conv3x3:
                raise ValueError(
                    "atrous_rates, image_pooling and aspp_conv3x3 do not act on a dense prediction cell; "
                    "set them to [], false and false"
                )
            self.aspp: ASPP | DensePredictionCell = DensePredictionCell(
                channels, output_stride, aspp_channels, dropout=dropout
            )
            return
        self.aspp = ASPP(
            channels,
            atrous_rates,
            aspp_channels,
            image_pooling=image_pooling,
            branch=branch,
            conv=conv,
            dropout=dropout,
            conv3x3=aspp_conv3x3,
        )


class DeepLabV3(DeepLabV3Encoder):
    """A backbone, an ASPP with image pooling and a 1x1 classifier; the logits are at the output stride (section 3.3).

    Args:
        num_classes: Number of classes K, background included.
        args: Further arguments of `DeepLabV3Encoder`, in its order.
        aspp_separable: The ASPP's 3x3 branches are atrous separable convolutions, as those of the TensorFlow release.
        aspp_depthwise_norm: BN and ReLU follow the depthwise half of these; segmentation-models-pytorch has neither.
        kwargs: Further arguments of `DeepLabV3Encoder`, by name.
    """

    def __init__(
        self,
        num_classes: int,
        *args: Any,
        aspp_separable: bool = False,
        aspp_depthwise_norm: bool = True,
        **kwargs: Any,
    ) -> None:
        branch = atrous_conv(aspp_separable, aspp_depthwise_norm)
        super().__init__(num_classes, *args, low_level_features="block", branch=branch, conv=conv_bn_relu, **kwargs)
        self.classifier = classifier(self.aspp.out_channels, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, K, H/stride, W/stride)."""
        logits: Tensor = self.classifier(self.aspp(self.backbone(images)[1]))
        return logits
