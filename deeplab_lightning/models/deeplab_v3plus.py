"""DeepLabv3+ (arXiv:1802.02611): DeepLabv3 as the encoder, a small decoder at stride 4."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from deeplab_lightning.models.aspp import ASPP, atrous_conv
from deeplab_lightning.models.encoders import build_backbone
from deeplab_lightning.models.layers import (
    SegmentationNetwork,
    classifier,
    conv_bn_relu,
    upsample,
)
from deeplab_lightning.models.resnet import LowLevelFeatures, Stem, StrideUnit


class Decoder(nn.Module):
    """Join upsampled encoder features with reduced low-level features (section 3.1, Figure 2).

    Args:
        low_level_channels: C of the backbone's low-level features, by stride.
        encoder_channels: C of the ASPP's output.
        strides: of the low-level features to join, in turn: (4,), or (8, 4) for "Conv2 + Conv3" of Table 2.
        reduced_channels: of the 1x1 that reduces the low-level features (48, Table 1).
        channels: of the convolutions that refine (256, Table 2).
        num_convs: how many of them after each join (2, Table 2).
        kernel_size: of them (3, Table 2).
        conv: builds one of them from channels in, channels out and kernel size.
        align_corners: grid of the upsampling.
    """

    def __init__(
        self,
        low_level_channels: dict[int, int],
        encoder_channels: int,
        strides: Sequence[int],
        reduced_channels: int,
        channels: int,
        num_convs: int,
        kernel_size: int,
        conv: Callable[..., nn.Sequential],
        align_corners: bool,
    ) -> None:
        super().__init__()
        if num_convs < 1:
            raise ValueError(f"decoder_convs must be at least 1, got {num_convs}")
        if kernel_size not in (1, 3, 5):
            raise ValueError(f"decoder_kernel_size must be 1, 3 or 5, got {kernel_size}")
        if tuple(strides) not in ((4,), (8, 4)):
            raise ValueError(f"decoder_strides must be [4] or [8, 4], got {list(strides)}")
        self.strides, self.align_corners = tuple(strides), align_corners
        self.reduce, self.refine = nn.ModuleList(), nn.ModuleList()
        for stride in strides:
            self.reduce.append(conv_bn_relu(low_level_channels[stride], reduced_channels, 1))
            widths = [encoder_channels + reduced_channels, *[channels] * num_convs]
            self.refine.append(nn.Sequential(*(conv(*pair, kernel_size) for pair in pairwise(widths))))
            encoder_channels = channels

    def forward(self, low_level_features: dict[int, Tensor], features: Tensor) -> Tensor:
        """Join (B, C1, H/4, W/4), and maybe those of stride 8, with (B, C2, h, w) to (B, channels, H/4, W/4)."""
        for stride, reduce, refine in zip(self.strides, self.reduce, self.refine, strict=True):
            reduced = reduce(low_level_features[stride])
            features = refine(torch.cat([upsample(features, reduced.shape[-2:], self.align_corners), reduced], 1))
        return features


class DeepLabV3Plus(SegmentationNetwork):
    """Backbone, ASPP, decoder, 1x1 classifier; logits at stride 4.

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
        low_level_features: Which low-level features the ResNet gives: "block", or "conv3" as in the TensorFlow release.
        relu_after_depthwise: of the Xception.
        aspp_channels: of each ASPP branch and of the projection.
        image_pooling: have the image-level branch.
        dropout: after the ASPP's projection.
        aspp_conv3x3: have one more 3x3 after the ASPP, as segmentation-models-pytorch does.
        low_level_channels: the low-level features are reduced to so many (Table 1).
        decoder_channels: of the decoder's convolutions (Table 2).
        decoder_convs: how many convolutions the decoder has after each join (Table 2).
        decoder_kernel_size: of the decoder's convolutions (Table 2).
        decoder_strides: low-level features to join, in turn: [4], or [8, 4] (Table 2, "Conv2 + Conv3").
        separable: make the 3x3 convolutions of ASPP and decoder separable (Table 5, "SC").
        depthwise_norm: BN and ReLU inside those; segmentation-models-pytorch has none there.
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
    ) -> None:
        super().__init__(num_classes, output_stride, align_corners)
        self.logits_stride = 4
        self.backbone = build_backbone(
            backbone,
            output_stride,
            multi_grid=multi_grid,
            stem=stem,
            stride_unit=stride_unit,
            low_level_features=low_level_features,
            relu_after_depthwise=relu_after_depthwise,
            pretrained=pretrained,
        )
        channels = self.backbone.out_channels
        self.aspp = ASPP(
            channels, atrous_rates, aspp_channels, image_pooling, separable, depthwise_norm, dropout, aspp_conv3x3
        )
        self.decoder = Decoder(
            self.backbone.low_level_channels,
            aspp_channels,
            decoder_strides,
            low_level_channels,
            decoder_channels,
            decoder_convs,
            decoder_kernel_size,
            atrous_conv(separable, depthwise_norm),
            align_corners,
        )
        self.classifier = classifier(decoder_channels, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to logits (B, K, H/4, W/4)."""
        low_level_features, features = self.backbone(images)
        logits: Tensor = self.classifier(self.decoder(low_level_features, self.aspp(features)))
        return logits
