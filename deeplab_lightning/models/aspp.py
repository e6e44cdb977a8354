"""Atrous spatial pyramid pooling with image-level features (DeepLabv3, arXiv:1706.05587, section 3.3)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from deeplab_lightning.models.batch_norm import RescuedBatchNorm2d
from deeplab_lightning.models.dropout import SampleDropout
from deeplab_lightning.models.layers import conv_bn_relu, separable_conv_bn_relu

Conv3x3 = bool | Literal["projection"]


class ImagePooling(nn.Module):
    """The image-level branch: global average pooling, 1x1 convolution, BN and ReLU, broadcast back over the map."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        nn.init.xavier_uniform_(self.conv.weight)  # like `conv_bn_relu`
        self.bn = RescuedBatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, C', h, w), constant over h and w."""
        pooled: Tensor = self.relu(self.bn(self.conv(features.mean((2, 3), keepdim=True))))
        return pooled.expand(-1, -1, *features.shape[2:])


class ASPP(nn.Module):
    """A 1x1 branch, one 3x3 branch per rate and image pooling, concatenated and projected.

    Args:
        in_channels: Number of channels of the backbone's last features.
        atrous_rates: Rates as used: (6, 12, 18) at output stride 16, (12, 24, 36) at 8, (3, 6, 9) at 32. An empty list
            leaves the 1x1 branch and image pooling, the head of MobileNetV2 (arXiv:1801.04381, section 6.3).
        channels: Number of channels of every branch and of the projection.
        image_pooling: The image-level branch is included.
        dropout: Probability of dropout after the projection; 0.1 in the TensorFlow release.
        branch: Builder of a 3x3 branch; see `atrous_conv`.
        conv: Builder of the 3x3 convolution after the projection.
        conv3x3: One more 3x3 convolution follows the projection. torchvision and segmentation-models-pytorch have it,
            the papers do not. "projection": the projection itself is a 3x3
            convolution, as in mmsegmentation.

    Raises:
        ValueError: A rate is below 1, the 1x1 branch would be the only one, or `conv3x3` is another word.
    """

    def __init__(
        self,
        in_channels: int,
        atrous_rates: Sequence[int] = (6, 12, 18),
        channels: int = 256,
        *,
        image_pooling: bool = True,
        branch: Callable[..., nn.Sequential] = conv_bn_relu,
        conv: Callable[..., nn.Sequential] = conv_bn_relu,
        dropout: float = 0.1,
        conv3x3: Conv3x3 = False,
    ) -> None:
        super().__init__()
        if conv3x3 not in (False, True, "projection"):
            raise ValueError(f"aspp_conv3x3 must be true, false or 'projection', got {conv3x3!r}")
        if any(rate < 1 for rate in atrous_rates) or not (atrous_rates or image_pooling):
            raise ValueError(
                "atrous_rates must hold rates of at least 1, and may be empty only with image_pooling, "
                f"got {tuple(atrous_rates)}"
            )
        self.out_channels = channels
        branches: list[nn.Module] = [conv_bn_relu(in_channels, channels, 1)]
        branches += [branch(in_channels, channels, 3, dilation=rate) for rate in atrous_rates]
        if image_pooling:
            branches.append(ImagePooling(in_channels, channels))
        self.branches = nn.ModuleList(branches)
        kernel_size = 3 if conv3x3 == "projection" else 1
        projection = conv_bn_relu(len(branches) * channels, channels, kernel_size)
        self.project = nn.Sequential(*projection, SampleDropout(dropout))
        self.conv3x3 = conv(channels, channels, 3) if conv3x3 is True else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, channels, h, w)."""
        projected: Tensor = self.project(torch.cat([branch(features) for branch in self.branches], 1))
        out: Tensor = self.conv3x3(projected)
        return out


def atrous_conv(separable: bool, depthwise_norm: bool) -> Callable[..., nn.Sequential]:
    """Return the builder of plain or separable convolutions; both take channels, kernel size and dilation.

    Args:
        separable: The convolutions are atrous separable ones.
        depthwise_norm: BN and ReLU follow the depthwise half of the separable convolutions.

    Raises:
        ValueError: `depthwise_norm` is false for plain convolutions, which have no depthwise half.
    """
    if separable:
        return partial(separable_conv_bn_relu, depthwise_norm=depthwise_norm)
    if not depthwise_norm:
        raise ValueError("depthwise_norm acts on separable convolutions only; set separable too, or leave it at true")
    return conv_bn_relu
