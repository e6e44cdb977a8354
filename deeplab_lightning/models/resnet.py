"""ResNet 18/34/50/101 with atrous convolution: any output stride from 8, multi-grid, up to seven blocks, two stems.

The networks are those of He et al., arXiv:1512.03385; the atrous convolution follows DeepLabv3 (arXiv:1706.05587),
section 3.
"""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from deeplab_lightning.models.imagenet import for_channels, imagenet_state_dict

Stem = Literal["conv7x7", "three_conv3x3", "three_conv3x3_narrow"]
StrideUnit = Literal["first", "first_1x1", "first_dilated", "last"]
LowLevelFeatures = Literal["block", "conv3"]

UNITS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
RESNETS = {f"resnet{depth}": depth for depth in UNITS}
STEMS = {"conv7x7": (64, 64), "three_conv3x3": (64, 128), "three_conv3x3_narrow": (32, 64)}
"""The number of channels of the first convolutions and of the last one, by stem."""
IMAGENET_NAMES = {"conv7x7": "resnet{}", "three_conv3x3": "timm/resnet{}s", "three_conv3x3_narrow": "timm/resnet{}c"}
CHANNELS = (64, 128, 256, 512)  # block1 to block4
CASCADE = ("layer5.", "layer6.", "layer7.")


class Unit(nn.Module):
    """One residual unit, either basic (two 3x3) or a bottleneck (1x1, 3x3, 1x1).

    Args:
        in_channels: Number of channels of the input.
        channels: Number of channels of the inner convolutions; the output of a bottleneck has four times as many.
        bottleneck: The unit is a bottleneck.
        stride: Stride of the first or only 3x3 (of the first 1x1 with `stride_on_1x1`), and of the shortcut.
        dilation: Rate of the first or only 3x3.
        next_dilation: Rate of a basic unit's second 3x3; it differs from `dilation` where a stride was removed.
        stride_on_1x1: The first 1x1 of a bottleneck strides, as in Caffe.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        bottleneck: bool,
        stride: int,
        dilation: int,
        next_dilation: int,
        stride_on_1x1: bool,
    ) -> None:
        super().__init__()
        out_channels = channels * (4 if bottleneck else 1)
        if bottleneck:
            first, second = (stride, 1) if stride_on_1x1 else (1, stride)
            self.conv1 = nn.Conv2d(in_channels, channels, 1, first, bias=False)
            self.bn1 = nn.BatchNorm2d(channels)
            self.conv2 = nn.Conv2d(channels, channels, 3, second, padding=dilation, dilation=dilation, bias=False)
            self.bn2 = nn.BatchNorm2d(channels)
            self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(out_channels)
        else:
            self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=dilation, dilation=dilation, bias=False)
            self.bn1 = nn.BatchNorm2d(channels)
            self.conv2 = nn.Conv2d(channels, out_channels, 3, padding=next_dilation, dilation=next_dilation, bias=False)
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
        return self.join(self.residual(features), features)

    def residual(self, features: Tensor) -> Tensor:
        """Map (B, C, h, w) to the residual (B, C', h / stride, w / stride), which is added to the shortcut."""
        residual: Tensor = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(features)))))
        if self.bottleneck:
            residual = self.bn3(self.conv3(self.relu(residual)))
        return residual

    def join(self, residual: Tensor, features: Tensor) -> Tensor:
        """Add the residual to the shortcut of the unit's input features (B, C, h, w)."""
        shortcut = features if self.downsample is None else self.downsample(features)
        joined: Tensor = self.relu(residual + shortcut)
        return joined


class ResNet(nn.Module):
    """A ResNet trunk that returns low-level and last features.

    Where a block would stride past `output_stride`, its stride becomes 1 and the convolutions after it use a larger
    rate. With the same weights, the features at a smaller output stride, subsampled, therefore equal those at a larger
    one. The names of the parameters are torchvision's (and, for the stem of three 3x3, timm's), so that ImageNet
    weights load without changes.

    Args:
        depth: Number of layers: 18, 34, 50 or 101.
        output_stride: Side of the image divided by the side of the last features: 8, 16, 32, and so on up to
            2 ** (num_blocks + 1).
        multi_grid: Unit rates of block4 and the blocks after it, in turn; each multiplies the block's rate (v3, section
            3.2.1).
        stem: First convolutions: "conv7x7" (the paper's text), or "three_conv3x3" of 64, 64, 128 channels (the
            released "beta" ResNets), or "three_conv3x3_narrow" of 32, 32, 64 channels ("v1c" of mmsegmentation).
        stride_unit: Unit that strides in a block. "first": the first unit of block2 and up, as in torchvision and timm.
            If such a unit loses its stride, its own 3x3 keeps the rate of the block before, as in training on ImageNet.
            "last": the last unit of every block but the last, as in the released TensorFlow models. The rates of block4
            are then (2, 4, 8) at output stride 16 with multi_grid (1, 2, 4). "first_1x1": the first unit, on its 1x1,
            and pooling with ceil sizes, as in Caffe and v2. "first_dilated": the same unit as "first", but the 3x3 that
            loses its stride already uses the larger rate, as in segmentation-models-pytorch. Features at two output
            strides then do not agree.
        num_blocks: Number of blocks, 4 to 7; block5 to block7 are copies of block4 in cascade (v3, section 3.2).
        low_level_features: Low-level features. "block": the last features of block1 at stride 4 and of block2 at stride
            8. "conv3": the residual that conv3 adds to the shortcut in the last unit but one of these blocks, as in the
            TensorFlow release (feature_extractor.py: block1/unit_2 and block2/unit_3); bottlenecks only.
        pretrained: ImageNet weights are loaded: torchvision's, or timm's for a stem of three 3x3 (such as resnet101s,
            or resnet101c for the narrow one). Blocks after block4 start at random. These weights stride in the 3x3 of a
            block's first unit.
        in_channels: Number of channels of the images. ImageNet weights are for RGB: for another number, the kernels of
            the first convolution are repeated (see `for_channels`).

    Raises:
        ValueError: A setting is invalid, or the ImageNet weights were trained with other strides.
    """

    def __init__(
        self,
        depth: int,
        output_stride: int = 16,
        multi_grid: Sequence[int] = (1, 1, 1),
        *,
        stem: Stem = "conv7x7",
        stride_unit: StrideUnit = "first",
        num_blocks: int = 4,
        low_level_features: LowLevelFeatures = "block",
        pretrained: bool = False,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        _check_units(depth, multi_grid, low_level_features)
        _check_strides(depth, output_stride, stride_unit, num_blocks)
        if pretrained and stride_unit in ("first_1x1", "last"):
            raise ValueError(
                "pretrained weights of torchvision and timm stride in the 3x3 of a block's first unit, "
                f"not as stride_unit {stride_unit!r} says; set stride_unit to 'first', or pretrained to false"
            )
        self.expansion = 4 if depth >= 50 else 1
        self.output_stride, self.stride_unit, self.num_blocks = output_stride, stride_unit, num_blocks
        self.low_level_features, self.in_channels = low_level_features, in_channels
        self.channels = self._build_stem(stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1, ceil_mode=stride_unit == "first_1x1")
        self.stride, self.rate = 4, 1
        for block in range(1, num_blocks + 1):
            units, grid = UNITS[depth][min(block, 4) - 1], multi_grid if block >= 4 else (1,)
            self.add_module(f"layer{block}", self._build_block(block, units, grid))
        self.out_channels = self.channels
        self.low_level_channels = {4: CHANNELS[0] * self.expansion, 8: CHANNELS[1] * self.expansion}
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        if pretrained:
            state = imagenet_state_dict(IMAGENET_NAMES[stem].format(depth))
            # ImageNet networks end with block4, so the blocks of the cascade keep their random weights.
            new = {key: value for key, value in self.state_dict().items() if key.startswith(CASCADE)}
            self.load_state_dict(for_channels(state, self.state_dict()) | new)

    def forward(self, images: Tensor) -> tuple[dict[int, Tensor], Tensor]:
        """Map images (B, C, H, W) to low-level features by stride and the last ones (B, C', H/stride, W/stride)."""
        features = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        low_level = {}
        for block in range(1, self.num_blocks + 1):
            layer = self.get_submodule(f"layer{block}")
            assert isinstance(layer, nn.Sequential)
            if block > 2:
                features = layer(features)
            else:
                low_level[2 ** (block + 1)], features = self._low_level_block(layer, features)
        return low_level, features

    def _low_level_block(self, layer: nn.Sequential, features: Tensor) -> tuple[Tensor, Tensor]:
        """Run block1 or block2; return its low-level features (B, C, h, w) and its output."""
        if self.low_level_features == "conv3":
            before, unit = layer[:-2](features), layer[-2]
            assert isinstance(unit, Unit)
            residual = unit.residual(before)
            return residual, layer[-1](unit.join(residual, before))
        if self.stride_unit == "last":
            before = layer[:-1](features)
            return before, layer[-1](before)
        features = layer(features)
        return features, features

    def _build_stem(self, stem: Stem) -> int:
        if stem not in STEMS:
            raise ValueError(f"stem must be one of {', '.join(STEMS)}, got {stem!r}")
        channels, out_channels = STEMS[stem]
        if stem == "conv7x7":
            self.conv1: nn.Module = nn.Conv2d(self.in_channels, out_channels, 7, stride=2, padding=3, bias=False)
        else:
            self.conv1 = nn.Sequential(
                nn.Conv2d(self.in_channels, channels, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
                nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
                nn.Conv2d(channels, out_channels, 3, padding=1, bias=False),
            )
        self.bn1 = nn.BatchNorm2d(out_channels)
        return out_channels

    def _build_block(self, block: int, units: int, multi_grid: Sequence[int]) -> nn.Sequential:
        last = self.stride_unit == "last"
        strides = block < self.num_blocks if last else block > 1
        striding_unit = units - 1 if last else 0
        channels = CHANNELS[min(block, 4) - 1]
        layers = []
        for unit in range(units):
            stride, rate = 1, self.rate
            if strides and unit == striding_unit:
                if self.stride < self.output_stride:
                    stride = 2
                    self.stride *= 2
                else:
                    self.rate *= 2  # for the convolutions after the one that lost its stride
                    if self.stride_unit in ("first_1x1", "first_dilated"):
                        rate = self.rate
            grid = multi_grid[unit % len(multi_grid)]
            layers.append(
                Unit(
                    self.channels,
                    channels,
                    bottleneck=self.expansion == 4,
                    stride=stride,
                    dilation=rate * grid,
                    next_dilation=self.rate * grid,
                    stride_on_1x1=self.stride_unit == "first_1x1",
                )
            )
            self.channels = channels * self.expansion
        return nn.Sequential(*layers)


def _check_units(depth: int, multi_grid: Sequence[int], low_level_features: str) -> None:
    if depth not in UNITS:
        raise ValueError(f"depth must be one of {sorted(UNITS)}, got {depth}")
    if not multi_grid or min(multi_grid) < 1:
        raise ValueError(f"multi_grid must hold rates of at least 1, got {tuple(multi_grid)}")
    if len(multi_grid) > UNITS[depth][3] and max(multi_grid) > 1:
        raise ValueError(f"block4 has {UNITS[depth][3]} units, too few for multi_grid {tuple(multi_grid)}")
    if low_level_features not in ("block", "conv3") or (low_level_features == "conv3" and depth < 50):
        raise ValueError(
            "low_level_features must be 'block', or 'conv3' for a ResNet with bottlenecks, "
            f"got {low_level_features!r} for ResNet-{depth}"
        )


def _check_strides(depth: int, output_stride: int, stride_unit: str, num_blocks: int) -> None:
    if not 4 <= num_blocks <= 7:
        raise ValueError(f"num_blocks must be 4 to 7, got {num_blocks}")
    strides = [2**power for power in range(3, num_blocks + 2)]
    if output_stride not in strides:
        raise ValueError(f"output_stride must be one of {strides} with {num_blocks} blocks, got {output_stride}")
    if stride_unit not in ("first", "first_1x1", "first_dilated", "last"):
        raise ValueError(f"stride_unit must be first, first_1x1, first_dilated or last, got {stride_unit!r}")
    if stride_unit == "first_1x1" and depth < 50:
        raise ValueError(f"stride_unit 'first_1x1' needs bottlenecks, which ResNet-{depth} does not have")
