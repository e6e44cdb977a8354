"""DeepLabv3+ (arXiv:1802.02611): DeepLabv3 as the encoder, a small decoder at stride 4."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from deeplab_lightning.models.aspp import atrous_conv
from deeplab_lightning.models.deeplab_v3 import DeepLabV3Encoder
from deeplab_lightning.models.layers import classifier, conv_bn_relu, upsample
from deeplab_lightning.models.resnet import LowLevelFeatures


class Decoder(nn.Module):
    """Join upsampled encoder features with reduced low-level features (section 3.1, Figure 2).

    Args:
        encoder_channels: Number of channels of the ASPP's output.
        low_level_channels: Number of channels of the backbone's low-level features, by their stride.
        strides: Strides of the low-level features to join, in turn: (4,), or (8, 4) for "Conv2 + Conv3" of Table 2.
        reduced_channels: Number of channels to which a 1x1 reduces the low-level features (48, Table 1).
        channels: Number of channels of the refining convolutions (256, Table 2).
        num_convs: Number of refining convolutions after each join (2, Table 2).
        kernel_size: Side of the kernels of the refining convolutions (3, Table 2).
        conv: Builder of a refining convolution from its input channels, output channels and kernel size.
        align_corners: Grid of the upsampling.

    Raises:
        ValueError: A setting is invalid.
    """

    def __init__(
        self,
        encoder_channels: int,
        low_level_channels: Mapping[int, int],
        *,
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

    def forward(self, low_level_features: Mapping[int, Tensor], features: Tensor) -> Tensor:
        """Map low-level features by stride and encoder features (B, C, h, w) to (B, channels, H/4, W/4)."""
        for stride, reduce, refine in zip(self.strides, self.reduce, self.refine, strict=True):
            reduced = reduce(low_level_features[stride])
            features = refine(torch.cat([upsample(features, reduced.shape[-2:], self.align_corners), reduced], 1))
        return features


class DeepLabV3Plus(DeepLabV3Encoder):
    """DeepLabv3's backbone and ASPP, a decoder and a 1x1 classifier; the logits are at stride 4.

    Args:
        num_classes: Number of classes K, background included.
        args: Further arguments of `DeepLabV3Encoder`, in its order.
        low_level_features: Low-level features of a ResNet: "block", the last features of a block, or "conv3", the
            residual that the last unit but one adds to its shortcut, as in the TensorFlow release.
        low_level_channels: Number of channels to which the low-level features are reduced (Table 1).
        decoder_channels: Number of channels of the decoder's convolutions (Table 2).
        decoder_convs: Number of the decoder's convolutions after each join (Table 2).
        decoder_kernel_size: Side of the kernels of the decoder's convolutions (Table 2).
        decoder_strides: Strides of the low-level features that the decoder joins, in turn: [4], or [8, 4] (Table 2,
            "Conv2 + Conv3").
        separable: The 3x3 convolutions of the ASPP and the decoder are atrous separable ones (Table 5, "SC").
        plain_aspp: The ASPP's branches are plain convolutions although those of the decoder are separable.
        depthwise_norm: BN and ReLU follow the depthwise half of the separable convolutions;
            segmentation-models-pytorch has neither.
        kwargs: Further arguments of `DeepLabV3Encoder`, by name.

    Raises:
        ValueError: A setting is invalid.
    """

    def __init__(
        self,
        num_classes: int,
        *args: Any,
        low_level_features: LowLevelFeatures = "block",
        low_level_channels: int = 48,
        decoder_channels: int = 256,
        decoder_convs: int = 2,
        decoder_kernel_size: int = 3,
        decoder_strides: Sequence[int] = (4,),
        separable: bool = False,
        plain_aspp: bool = False,
        depthwise_norm: bool = True,
        **kwargs: Any,
    ) -> None:
        if plain_aspp and not separable:
            raise ValueError("plain_aspp acts beside separable only; set separable too, or leave it at false")
        conv = atrous_conv(separable, depthwise_norm)
        super().__init__(
            num_classes,
            *args,
            low_level_features=low_level_features,
            branch=conv_bn_relu if plain_aspp else conv,
            conv=conv,
            **kwargs,
        )
        self.logits_stride = 4
        self.decoder = Decoder(
            self.aspp.out_channels,
            self.backbone.low_level_channels,
            strides=decoder_strides,
            reduced_channels=low_level_channels,
            channels=decoder_channels,
            num_convs=decoder_convs,
            kernel_size=decoder_kernel_size,
            conv=conv,
            align_corners=self.align_corners,
        )
        self.classifier = classifier(decoder_channels, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, K, H/4, W/4)."""
        low_level_features, features = self.backbone(images)
        logits: Tensor = self.classifier(self.decoder(low_level_features, self.aspp(features)))
        return logits
