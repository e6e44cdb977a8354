"""ResNet 18/34/50/101 with atrous convolution: output stride 8, 16 or 32, multi-grid, two stems.

He et al., arXiv:1512.03385; atrous use after DeepLabv3 (arXiv:1706.05587), section 3.
"""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from deeplab_lightning.models.weights import imagenet_state_dict

Stem = Literal["conv7x7", "three_conv3x3"]
StrideUnit = Literal["first", "last"]

UNITS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
STAGE_CHANNELS = (64, 128, 256, 512)


class Unit(nn.Module):
    """One residual unit, basic (two 3x3) or bottleneck (1x1, 3x3, 1x1); the stride sits on the first or only 3x3.

    Args:
        in_channels: C of the input.
        channels: width of the unit; a bottleneck gives four times as many.
        bottleneck: which of the two kinds.
        stride: of the first or only 3x3, and of the shortcut.
        dilation: rate of that 3x3.
        next_dilation: rate of what comes after it in the unit; differs from `dilation` where a stride was taken out.
    """

    def __init__(
        self, in_channels: int, channels: int, *, bottleneck: bool, stride: int, dilation: int, next_dilation: int
    ) -> None:
        super().__init__()
        out_channels = channels * (4 if bottleneck else 1)
        if bottleneck:
            self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(channels)
            self.conv2 = nn.Conv2d(channels, channels, 3, stride, dilation, dilation, bias=False)
            self.bn2 = nn.BatchNorm2d(channels)
            self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(out_channels)
        else:
            self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, dilation, dilation, bias=False)
            self.bn1 = nn.BatchNorm2d(channels)
            self.conv2 = nn.Conv2d(channels, out_channels, 3, 1, next_dilation, next_dilation, bias=False)
            self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )
        elif stride > 1:  # an identity shortcut under a strided unit takes every stride-th position
            self.downsample = nn.MaxPool2d(1, stride)
        self.bottleneck = bottleneck

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, C', h / stride, w / stride)."""
        shortcut = features if self.downsample is None else self.downsample(features)
        residual = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(features)))))
        if self.bottleneck:
            residual = self.bn3(self.conv3(self.relu(residual)))
        joined: Tensor = self.relu(residual + shortcut)
        return joined


class ResNet(nn.Module):
    """ResNet trunk that returns its stride-4 and its last features.

    Where a stage would stride past `output_stride`, its stride becomes 1 and what follows uses a larger rate, so that
    the features at a smaller output stride, subsampled, equal those at a larger one with the same weights. The names of
    the parameters are torchvision's (and, for the three 3x3 stem, timm's), so ImageNet weights load as they are.

    Args:
        depth: 18, 34, 50 or 101.
        output_stride: 8, 16 or 32; image side over side of the last features.
        multi_grid: unit rates of the last stage, in turn; each multiplies the rate of the stage (v3, section 3.2.1).
        stem: one 7x7 (the paper's text) or three 3x3 of 64, 64, 128 channels (the released "beta" ResNets).
        stride_unit: which unit of a stage strides. "first": the first unit of stages 2 to 4, where torchvision and timm
            have it; when such a unit loses its stride, its own 3x3 keeps the rate of the stage before, as in training
            on ImageNet. "last": the last unit of stages 1 to 3, as in the released TensorFlow models; the rates of the
            last stage are then (2, 4, 8) at output stride 16 with multi_grid (1, 2, 4).
        pretrained: load ImageNet weights (torchvision's, or timm's resnet101s and kin for the three 3x3 stem).
    """

    def __init__(
        self,
        depth: int,
        output_stride: int = 16,
        multi_grid: Sequence[int] = (1, 1, 1),
        stem: Stem = "conv7x7",
        stride_unit: StrideUnit = "first",
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        if depth not in UNITS:
            raise ValueError(f"depth must be one of {sorted(UNITS)}, got {depth}")
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride}")
        if not multi_grid or min(multi_grid) < 1:
            raise ValueError(f"multi_grid must hold rates of at least 1, got {tuple(multi_grid)}")
        if len(multi_grid) > UNITS[depth][3] and max(multi_grid) > 1:
            raise ValueError(f"the last stage has {UNITS[depth][3]} units, too few for multi_grid {tuple(multi_grid)}")
        if stride_unit not in ("first", "last"):
            raise ValueError(f"stride_unit must be 'first' or 'last', got {stride_unit!r}")
        self.expansion = 4 if depth >= 50 else 1
        self.output_stride = output_stride
        self.stride_unit = stride_unit
        self.channels = self._build_stem(stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.stride, self.rate = 4, 1
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            self._build_stage(stage, units, multi_grid if stage == 3 else (1,))
            for stage, units in enumerate(UNITS[depth])
        )
        self.out_channels = self.channels
        self.low_level_channels = STAGE_CHANNELS[0] * self.expansion
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        if pretrained:
            self.load_state_dict(imagenet_state_dict(f"resnet{depth}" if stem == "conv7x7" else f"timm/resnet{depth}s"))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (B, 3, H, W) to low-level (B, C1, H/4, W/4) and last features (B, C4, H/stride, W/stride).

        The low-level features are the last ones of stage 1 at stride 4.
        """
        features = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        if self.stride_unit == "first":
            low_level = features = self.layer1(features)
        else:
            low_level = self.layer1[:-1](features)
            features = self.layer1[-1](low_level)
        return low_level, self.layer4(self.layer3(self.layer2(features)))

    def _build_stem(self, stem: Stem) -> int:
        if stem == "conv7x7":
            self.conv1: nn.Module = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
            out_channels = 64
        elif stem == "three_conv3x3":
            out_channels = 128
            self.conv1 = nn.Sequential(
                nn.Conv2d(3, 64, 3, 2, 1, bias=False),
                nn.BatchNorm2d(64),
                nn.ReLU(inplace=True),
                nn.Conv2d(64, 64, 3, 1, 1, bias=False),
                nn.BatchNorm2d(64),
                nn.ReLU(inplace=True),
                nn.Conv2d(64, out_channels, 3, 1, 1, bias=False),
            )
        else:
            raise ValueError(f"stem must be 'conv7x7' or 'three_conv3x3', got {stem!r}")
        self.bn1 = nn.BatchNorm2d(out_channels)
        return out_channels

    def _build_stage(self, stage: int, units: int, multi_grid: Sequence[int]) -> nn.Sequential:
        strides = stage > 0 if self.stride_unit == "first" else stage < 3
        striding_unit = 0 if self.stride_unit == "first" else units - 1
        layers = []
        for unit in range(units):
            stride, rate = 1, self.rate
            if strides and unit == striding_unit:
                if self.stride < self.output_stride:
                    stride = 2
                    self.stride *= 2
                else:
                    self.rate *= 2  # for all that follows this unit's 3x3
            grid, channels = multi_grid[unit % len(multi_grid)], STAGE_CHANNELS[stage]
            layers.append(
                Unit(
                    self.channels,
                    channels,
                    bottleneck=self.expansion == 4,
                    stride=stride,
                    dilation=rate * grid,
                    next_dilation=self.rate * grid,
                )
            )
            self.channels = channels * self.expansion
        return nn.Sequential(*layers)
