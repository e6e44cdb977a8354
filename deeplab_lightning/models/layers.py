"""Blocks that the networks share.

Shape letters, here and in every network: B batch, C channels, K classes, H and W the sides of the image, h and w those
of a feature map.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class SegmentationNetwork(nn.Module):
    """The base of all networks, which map images (B, C, H, W) of any size to logits (B, K, H, W).

    An image has the backbone's `in_channels` channels C: 3 for RGB.

    A subclass holds at most the parts `backbone`, `aspp` (or `head`), `decoder` and `classifier`, and implements
    `forward_features`, which returns logits (B, K, h, w) on the grid of the features.

    Args:
        num_classes: Number of classes K, background included; 255 is never a class.
        output_stride: Side of the image divided by the side of the backbone's last features.
        align_corners: Grid of every bilinear upsampling. False is PyTorch's and torchvision's; True is that of
            Caffe's Interp layer and of the TensorFlow release (core/utils.py), exact for sides of 16k + 1.

    Attributes:
        logits_stride: Side of the image divided by the side of the logits on the features' grid: 4 with a decoder, else
            the output stride.
        grid_offset: Pixel under the first position of these logits; position i lies over pixel
            i * `logits_stride` + `grid_offset`.
        field_of_view: Side in pixels of the classifier's field of view in v1 and v2, counted as in v1's Table 2; None
            for later networks.
    """

    field_of_view: int | None = None
    grid_offset = 0

    def __init__(self, num_classes: int, output_stride: int, align_corners: bool = False) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {num_classes}")
        self.num_classes = num_classes
        self.output_stride = self.logits_stride = output_stride
        self.align_corners = align_corners

    @property
    def in_channels(self) -> int:
        """The number of channels C of an image."""
        return int(self.backbone.in_channels)  # type: ignore[union-attr, arg-type]  # every backbone has it

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, K, h, w)."""
        raise NotImplementedError

    def forward_coarse(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to the logits (B, K, h, w) that `forward` upsamples: those of `forward_features`."""
        return self.forward_features(images)

    def forward(self, images: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Map images (B, C, H, W) to logits (B, K, *size); the size defaults to the images' own (H, W)."""
        return upsample(self.forward_coarse(images), size or images.shape[-2:], self.align_corners)


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Build a convolution without bias, batch norm and ReLU, padded so that stride 1 keeps the size.

    Weights start from Xavier's uniform distribution, the default of `slim.conv2d`, with which the TensorFlow release
    builds the ASPP and the decoder (model.py).
    """
    padding = dilation * (kernel_size - 1) // 2
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=padding, dilation=dilation, bias=False)
    nn.init.xavier_uniform_(conv.weight)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


def separable_conv_bn_relu(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    dilation: int | tuple[int, int] = 1,
    depthwise_norm: bool = True,
) -> nn.Sequential:
    """Build an atrous separable convolution (v3+ section 3.1): depthwise, BN, ReLU, then pointwise, BN, ReLU.

    Both normalisations, and weights from truncated normals of 0.33 and 0.06, follow the released code
    (`_split_separable_conv2d` of the TensorFlow model.py). Without `depthwise_norm`, the first BN and ReLU are left
    out. The rate may differ vertically and horizontally.
    """
    rates = (dilation, dilation) if isinstance(dilation, int) else dilation
    depthwise = nn.Conv2d(
        in_channels,
        in_channels,
        kernel_size,
        padding=(rates[0] * (kernel_size - 1) // 2, rates[1] * (kernel_size - 1) // 2),
        dilation=rates,
        groups=in_channels,
        bias=False,
    )
    pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
    truncated_normal(depthwise.weight, 0.33)
    truncated_normal(pointwise.weight, 0.06)
    between = (nn.BatchNorm2d(in_channels), nn.ReLU(inplace=True)) if depthwise_norm else ()
    return nn.Sequential(depthwise, *between, pointwise, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


def upsample(features: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """Resize (B, C, h, w) to (B, C, *size) bilinearly; a map that already has the size is returned unchanged."""
    if tuple(features.shape[-2:]) == tuple(size):
        return features
    return F.interpolate(features, tuple(size), mode="bilinear", align_corners=align_corners)


def classifier(in_channels: int, num_classes: int) -> nn.Conv2d:
    """Build the 1x1 convolution to K logits: weights from a truncated normal of 0.01 (TensorFlow model.py), bias 0."""
    layer = nn.Conv2d(in_channels, num_classes, 1)
    truncated_normal(layer.weight, 0.01)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def truncated_normal(weight: Tensor, std: float) -> None:
    """Fill a weight from N(0, std), cut off at two standard deviations like TensorFlow's truncated normal.

    The standard deviation of the values is then 0.88 * std.
    """
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


def gaussian(layer: nn.Conv2d, std: float) -> nn.Conv2d:
    """Initialise a layer's weights from N(0, std) and its bias with 0, like a new layer in Caffe, and return it."""
    nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
