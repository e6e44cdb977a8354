"""DeepLabv3+ (arXiv:1802.02611): DeepLabv3 as the encoder, a small decoder at stride 4."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deeplab_lightning.models.aspp import ASPP
from deeplab_lightning.models.encoders import build_backbone
from deeplab_lightning.models.layers import (
    SegmentationNetwork,
    classifier,
    conv_bn_relu,
    separable_conv_bn_relu,
    upsample,
)
from deeplab_lightning.models.resnet import Stem, StrideUnit


class Decoder(nn.Module):
    """Join upsampled encoder features with reduced low-level features (section 3.1, Figure 2).

    Args:
        low_level_channels: C of the backbone's stride-4 features.
        encoder_channels: C of the ASPP's output.
        reduced_channels: of the 1x1 that reduces the low-level features (48, Table 1).
        channels: of the 3x3 convolutions (256, Table 2).
        num_convs: how many of them (2, Table 2).
        separable: make them separable convolutions.
        align_corners: grid of the upsampling.
    """

    def __init__(
        self,
        low_level_channels: int,
        encoder_channels: int,
        reduced_channels: int,
        channels: int,
        num_convs: int,
        separable: bool,
        align_corners: bool,
    ) -> None:
        super().__init__()
        if num_convs < 1:
            raise ValueError(f"decoder_convs must be at least 1, got {num_convs}")
        conv = separable_conv_bn_relu if separable else conv_bn_relu
        self.align_corners = align_corners
        self.reduce = conv_bn_relu(low_level_channels, reduced_channels, 1)
        self.refine = nn.Sequential(
            conv(encoder_channels + reduced_channels, channels, 3),
            *(conv(channels, channels, 3) for _ in range(num_convs - 1)),
        )

    def forward(self, low_level_features: Tensor, features: Tensor) -> Tensor:
        """Join (B, C1, H/4, W/4) and (B, C2, h, w) to (B, channels, H/4, W/4)."""
        features = upsample(features, low_level_features.shape[-2:], self.align_corners)
        refined: Tensor = self.refine(torch.cat([features, self.reduce(low_level_features)], 1))
        return refined


class DeepLabV3Plus(SegmentationNetwork):
    """Backbone, ASPP, decoder, 1x1 classifier; logits at stride 4.

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
        dropout: after the ASPP's projection.
        low_level_channels: the low-level features are reduced to so many (Table 1).
        decoder_channels: of the decoder's 3x3 convolutions (Table 2).
        decoder_convs: how many 3x3 convolutions the decoder has (Table 2).
        separable: make the 3x3 convolutions of ASPP and decoder separable (Table 5, "SC").
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
        low_level_channels: int = 48,
        decoder_channels: int = 256,
        decoder_convs: int = 2,
        separable: bool = False,
        pretrained: bool = False,
        align_corners: bool = False,
    ) -> None:
        super().__init__(num_classes, output_stride, align_corners)
        self.backbone = build_backbone(backbone, output_stride, multi_grid, stem, stride_unit, pretrained)
        channels = self.backbone.out_channels
        self.aspp = ASPP(channels, atrous_rates, aspp_channels, image_pooling, separable, dropout)
        self.decoder = Decoder(
            self.backbone.low_level_channels,
            aspp_channels,
            low_level_channels,
            decoder_channels,
            decoder_convs,
            separable,
            align_corners,
        )
        self.classifier = classifier(decoder_channels, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to logits (B, K, H/4, W/4)."""
        low_level_features, features = self.backbone(images)
        logits: Tensor = self.classifier(self.decoder(low_level_features, self.aspp(features)))
        return logits
