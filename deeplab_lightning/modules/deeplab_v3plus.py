"""DeepLabv3+ under Lightning."""

from collections.abc import Sequence
from typing import Any

from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus
from deeplab_lightning.models.resnet import LowLevelFeatures, Stem, StrideUnit
from deeplab_lightning.modules.base import SegmentationModule


class DeepLabV3PlusModule(SegmentationModule):
    """DeepLabv3+ (arXiv:1802.02611).

    Args:
        num_classes: K, background included; from the command line it follows from the data.
        backbone: "resnet18" to "resnet101", "xception41", "xception65", "xception71", "mobilenet_v2",
            "mobilenet_v3_large", an smp encoder name, or "tu-" and a timm name.
        output_stride: of the backbone: 8, 16 or 32.
        atrous_rates: of the ASPP, as used: (6, 12, 18) at output stride 16, (12, 24, 36) at 8. None leaves the 1x1
            branch and image pooling, MobileNetV2's light head.
        multi_grid: unit rates of the ResNet's block4.
        stem: of the ResNet: "conv7x7" or "three_conv3x3".
        stride_unit: unit of a ResNet block that strides: "first" as in torchvision, "last" as in TensorFlow,
            "first_1x1" as in Caffe, "first_dilated" as in segmentation-models-pytorch and torchvision's MobileNetV3.
        low_level_features: Low-level features of the ResNet: "block", a block's last ones, or "conv3", what the last
            unit but one adds to its shortcut, as in the TensorFlow release.
        relu_after_depthwise: of the Xception: the paper's text; the release and its weights have it in the end only.
        aspp_channels: of each ASPP branch and of the projection.
        image_pooling: have the image-level branch.
        dropout: after the ASPP's projection.
        aspp_conv3x3: have one more 3x3 after it, as torchvision and segmentation-models-pytorch do.
        low_level_channels: the low-level features are reduced to so many.
        decoder_channels: of the decoder's convolutions.
        decoder_convs: how many convolutions the decoder has after each join.
        decoder_kernel_size: of the decoder's convolutions.
        decoder_strides: low-level features that the decoder joins, in turn: [4], or [8, 4].
        separable: make the 3x3 convolutions of ASPP and decoder separable.
        depthwise_norm: BN and ReLU inside those; segmentation-models-pytorch has none there.
        pretrained: load ImageNet weights into the backbone.
        align_corners: grid of every bilinear resize: False as in torchvision, True as in the TensorFlow release.
        kwargs: see `SegmentationModule`.
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
        low_level_features: LowLevelFeatures = "block",
        relu_after_depthwise: bool = False,
        aspp_channels: int = 256,
        image_pooling: bool = True,
        dropout: float = 0.1,
        aspp_conv3x3: bool = False,
        low_level_channels: int = 48,
        decoder_channels: int = 256,
        decoder_convs: int = 2,
        decoder_kernel_size: int = 3,
        decoder_strides: Sequence[int] = (4,),
        separable: bool = False,
        depthwise_norm: bool = True,
        pretrained: bool = False,
        align_corners: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, **kwargs)
        network = DeepLabV3Plus(
            num_classes,
            backbone=backbone,
            output_stride=output_stride,
            atrous_rates=atrous_rates,
            multi_grid=multi_grid,
            stem=stem,
            stride_unit=stride_unit,
            low_level_features=low_level_features,
            relu_after_depthwise=relu_after_depthwise,
            aspp_channels=aspp_channels,
            image_pooling=image_pooling,
            dropout=dropout,
            aspp_conv3x3=aspp_conv3x3,
            low_level_channels=low_level_channels,
            decoder_channels=decoder_channels,
            decoder_convs=decoder_convs,
            decoder_kernel_size=decoder_kernel_size,
            decoder_strides=decoder_strides,
            separable=separable,
            depthwise_norm=depthwise_norm,
            pretrained=pretrained,
            align_corners=align_corners,
        )
        self.set_network(network)
