"""MobileNets in rows of inverted residuals: V2 (arXiv:1801.04381, Table 2), V3 (arXiv:1905.02244, Tables 1 and 2)."""

from typing import NamedTuple

from torch import nn

STEM_CHANNELS = {2: 32, 3: 16}
"""The number of channels of the first convolution, by version."""


class Block(NamedTuple):
    """The settings of one inverted residual, a row of Table 2 (V2) or Table 1 (V3).

    Args:
        expanded: Number of channels of the expansion.
        channels: Number of channels of the output.
        kernel_size: Side of the depthwise kernel.
        stride: Stride of the depthwise convolution.
        squeeze: Squeeze and excitation follow the depthwise convolution.
        activation: Class of the nonlinearity.
    """

    expanded: int
    channels: int
    kernel_size: int = 3
    stride: int = 1
    squeeze: bool = False
    activation: type[nn.Module] = nn.ReLU6


def v2_blocks(width_multiplier: float) -> list[Block]:
    """Return the rows of V2 with all widths multiplied, which keeps them whole for multiples of 1/8."""
    blocks, in_channels = [], round(STEM_CHANNELS[2] * width_multiplier)
    for expansion, channels, repeats, stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for repeat in range(repeats):
            width = round(channels * width_multiplier)
            blocks.append(Block(in_channels * expansion, width, stride=stride if repeat == 0 else 1))
            in_channels = width
    return blocks


V3_LARGE_BLOCKS = [
    Block(16, 16, activation=nn.ReLU),
    Block(64, 24, stride=2, activation=nn.ReLU),
    Block(72, 24, activation=nn.ReLU),
    Block(72, 40, 5, 2, squeeze=True, activation=nn.ReLU),
    Block(120, 40, 5, squeeze=True, activation=nn.ReLU),
    Block(120, 40, 5, squeeze=True, activation=nn.ReLU),
    Block(240, 80, stride=2, activation=nn.Hardswish),
    Block(200, 80, activation=nn.Hardswish),
    Block(184, 80, activation=nn.Hardswish),
    Block(184, 80, activation=nn.Hardswish),
    Block(480, 112, squeeze=True, activation=nn.Hardswish),
    Block(672, 112, squeeze=True, activation=nn.Hardswish),
    Block(672, 160, 5, 2, squeeze=True, activation=nn.Hardswish),
    Block(960, 160, 5, squeeze=True, activation=nn.Hardswish),
    Block(960, 160, 5, squeeze=True, activation=nn.Hardswish),
]
V3_LARGE_SEG_BLOCKS = [
    *V3_LARGE_BLOCKS[:12],
    Block(336, 80, 5, 2, squeeze=True, activation=nn.Hardswish),
    Block(480, 80, 5, squeeze=True, activation=nn.Hardswish),
    Block(480, 80, 5, squeeze=True, activation=nn.Hardswish),
]
"""V3-Large with the last blocks half as wide, for segmentation (section 6.4; the release's feature_extractor.py)."""
V3_SMALL_SEG_BLOCKS = [
    Block(16, 16, stride=2, squeeze=True, activation=nn.ReLU),
    Block(72, 24, stride=2, activation=nn.ReLU),
    Block(88, 24, activation=nn.ReLU),
    Block(96, 40, 5, 2, squeeze=True, activation=nn.Hardswish),
    Block(240, 40, 5, squeeze=True, activation=nn.Hardswish),
    Block(240, 40, 5, squeeze=True, activation=nn.Hardswish),
    Block(120, 48, 5, squeeze=True, activation=nn.Hardswish),
    Block(144, 48, 5, squeeze=True, activation=nn.Hardswish),
    Block(144, 48, 5, 2, squeeze=True, activation=nn.Hardswish),
    Block(288, 48, 5, squeeze=True, activation=nn.Hardswish),
    Block(288, 48, 5, squeeze=True, activation=nn.Hardswish),
]
"""V3-Small with the last blocks half as wide, as for V3-Large."""
V3_BLOCKS = {
    "mobilenet_v3_large": V3_LARGE_BLOCKS,
    "mobilenet_v3_large_seg": V3_LARGE_SEG_BLOCKS,
    "mobilenet_v3_small_seg": V3_SMALL_SEG_BLOCKS,
}
"""The rows of V3 by the names of its networks."""
