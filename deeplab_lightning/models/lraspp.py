"""MobileNetV3 with Lite R-ASPP (arXiv:1905.02244, section 6.4), as the TensorFlow release of DeepLab has it."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeplab_lightning.models.encoders import build_backbone
from deeplab_lightning.models.layers import SegmentationNetwork, classifier, conv_bn_relu, upsample


class LiteASPP(nn.Module):
    """A 1x1 branch, scaled by a gate from pooled features.

    Args:
        in_channels: Number of channels of the backbone's last features.
        channels: Number of channels of the branch.
        pooling_size: Sides of the average pooling's window, cut to the map's sides.
        pooling_stride: Vertical and horizontal stride of the pooling.
        align_corners: Grid on which the gate is resized to the map.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        pooling_size: Sequence[int],
        pooling_stride: Sequence[int],
        align_corners: bool,
    ) -> None:
        super().__init__()
        if len(pooling_size) != 2 or len(pooling_stride) != 2 or min(*pooling_size, *pooling_stride) < 1:
            raise ValueError(
                f"pooling_size and pooling_stride must be two numbers of at least 1 each, got {list(pooling_size)} "
                f"and {list(pooling_stride)}"
            )
        self.pooling_size, self.pooling_stride = tuple(pooling_size), tuple(pooling_stride)
        self.align_corners = align_corners
        self.out_channels = channels
        self.branch = conv_bn_relu(in_channels, channels, 1)
        self.gate = nn.Conv2d(in_channels, channels, 1)
        nn.init.xavier_uniform_(self.gate.weight)  # like `conv_bn_relu`
        assert self.gate.bias is not None
        nn.init.zeros_(self.gate.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, channels, h, w)."""
        size, window = features.shape[-2:], self.pooling_size
        # A window cut to the map would be a number in an exported graph, right for images of one size alone.
        empty: list[Any] = [torch.sym_max(limit - side, 0) for side, limit in zip(size, window, strict=True)]
        share = (window[0] - empty[0]) * (window[1] - empty[1]) / (window[0] * window[1])
        means = F.avg_pool2d(F.pad(features, (0, empty[1], 0, empty[0])), window, self.pooling_stride) / share
        gate = F.hardsigmoid(self.gate(means))
        scaled: Tensor = self.branch(features) * upsample(gate, size, self.align_corners)
        return scaled


class LRASPP(SegmentationNetwork):
    """A MobileNetV3, Lite R-ASPP, and two 1x1 classifiers whose sum at stride 8 is the logits.

    Args:
        num_classes: Number of classes K, background included.
        backbone: One of "mobilenet_v3_large_seg", "mobilenet_v3_small_seg" and "mobilenet_v3_large", or another
            backbone of `build_backbone`.
        output_stride: Output stride of the backbone: 8, 16 or 32 (32 in the release).
        aspp_channels: Number of channels of the branch and its gate (128, Figure 10).
        pooling_size: Height and width of the pooling's window on the features; the release's 25 is that of an image of
            769 at output stride 32.
        pooling_stride: Vertical and horizontal stride of the pooling.
        align_corners: Grid of every bilinear resize: False as in torchvision, True as in the TensorFlow release.
        backbone_settings: Further arguments of `build_backbone`.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: str = "mobilenet_v3_large_seg",
        output_stride: int = 32,
        *,
        aspp_channels: int = 128,
        pooling_size: Sequence[int] = (25, 25),
        pooling_stride: Sequence[int] = (4, 5),
        align_corners: bool = True,
        **backbone_settings: Any,
    ) -> None:
        super().__init__(num_classes, output_stride, align_corners)
        self.logits_stride = 8
        self.backbone = build_backbone(backbone, output_stride, **backbone_settings)
        self.aspp = LiteASPP(
            self.backbone.out_channels,
            aspp_channels,
            pooling_size=pooling_size,
            pooling_stride=pooling_stride,
            align_corners=align_corners,
        )
        channels = (aspp_channels, self.backbone.low_level_channels[8])
        self.classifier = nn.ModuleList(classifier(width, num_classes) for width in channels)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, K, H/8, W/8)."""
        low_level_features, features = self.backbone(images)
        fine: Tensor = self.classifier[1](low_level_features[8])
        coarse = self.classifier[0](self.aspp(features))
        return fine + upsample(coarse, fine.shape[-2:], self.align_corners)
