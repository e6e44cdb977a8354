"""MobileNetV2 (arXiv:1801.04381) and MobileNetV3-Large (arXiv:1905.02244) with atrous convolution."""

from typing import Literal, NamedTuple

from torch import Tensor, nn

from deeplab_lightning.models.imagenet import imagenet_state_dict

EPS = {2: 1e-5, 3: 1e-3}  # the batch norms' epsilon by version


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


def _v2_blocks() -> list[Block]:
    blocks, in_channels = [], 32
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
            blocks.append(Block(in_channels * expansion, channels, stride=stride if repeat == 0 else 1))
            in_channels = channels
    return blocks


V2_BLOCKS = _v2_blocks()
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


class SqueezeExcitation(nn.Module):
    """Scales each channel by a gate computed from the means of all channels; the gate is a hard sigmoid (V3, 5.3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        quarter = channels // 4
        squeezed = max(8, (quarter + 4) // 8 * 8)  # the nearest multiple of 8 ...
        if squeezed < 0.9 * quarter:  # ... unless it is more than a tenth smaller
            squeezed += 8
        self.fc1, self.fc2 = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)
        self.activation, self.scale_activation = nn.ReLU(inplace=True), nn.Hardsigmoid()

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, h, w) to the same shape."""
        means = features.mean((2, 3), keepdim=True)
        gated: Tensor = features * self.scale_activation(self.fc2(self.activation(self.fc1(means))))
        return gated


class InvertedResidual(nn.Module):
    """A 1x1 expansion, a depthwise convolution, squeeze and excitation in some blocks, and a linear 1x1 projection.

    Args:
        in_channels: Number of channels of the input.
        block: Settings of the block.
        stride: Stride that the block has in this network; 1 where the network keeps its resolution.
        rate: Atrous rate of the depthwise convolution.
        version: Version of MobileNet, 2 or 3.
    """

    def __init__(self, in_channels: int, block: Block, *, stride: int, rate: int, version: Literal[2, 3]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        eps = EPS[version]
        if block.expanded != in_channels:
            layers.append(_conv_bn(in_channels, block.expanded, 1, eps, activation=block.activation))
        depthwise = nn.Conv2d(
            block.expanded,
            block.expanded,
            block.kernel_size,
            stride,
            padding=rate * (block.kernel_size - 1) // 2,
            dilation=rate,
            groups=block.expanded,
            bias=False,
        )
        layers.append(nn.Sequential(depthwise, nn.BatchNorm2d(block.expanded, eps), block.activation(inplace=True)))
        self.num_to_depthwise = len(layers)
        if block.squeeze:
            layers.append(SqueezeExcitation(block.expanded))
        project = _conv_bn(block.expanded, block.channels, 1, eps)
        if version == 2:
            layers += project  # torchvision's V2 has its two layers side by side, V3 in a Sequential
        else:
            layers.append(project)
        self.name = "conv" if version == 2 else "block"
        self.add_module(self.name, nn.Sequential(*layers))
        self.residual = block.stride == 1 and in_channels == block.channels

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, C, h, w) to the depthwise output (B, C', h / stride, w / stride) and the block's output."""
        layers = self.get_submodule(self.name)
        assert isinstance(layers, nn.Sequential)
        depthwise = layers[: self.num_to_depthwise](features)
        out = layers[self.num_to_depthwise :](depthwise)
        return depthwise, out + features if self.residual else out


class MobileNet(nn.Module):
    """MobileNetV2 up to its 320 channels, or MobileNetV3-Large up to its 960; the parameters have torchvision's names.

    Where a block would stride past `output_stride`, its stride becomes 1 and the blocks after it use a larger rate. The
    low-level features at a stride are the depthwise output of the last block at that stride, as in the TensorFlow
    release: 144 and 192 channels at stride 4 and 8 in V2 (?), 72 and 120 in V3.

    Args:
        version: Version of MobileNet, 2 or 3.
        output_stride: Side of the image divided by the side of the last features: 8, 16 or 32.
        stride_unit: Rate of a convolution that loses its stride. "first": the rate of the block before, so that
            features at two output strides agree. "first_dilated" (V3 only): the larger rate of the blocks after it, as
            in torchvision's DeepLabv3.
        pretrained: ImageNet weights of torchvision are loaded.

    Raises:
        ValueError: A setting has none of these values.
    """

    def __init__(
        self,
        version: Literal[2, 3],
        output_stride: int = 16,
        stride_unit: Literal["first", "first_dilated"] = "first",
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        if version not in (2, 3):
            raise ValueError(f"version must be 2 or 3, got {version}")
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride}")
        if stride_unit not in ("first", "first_dilated"):
            raise ValueError(f"stride_unit of a MobileNet must be 'first' or 'first_dilated', got {stride_unit!r}")
        self.output_stride = output_stride
        blocks, eps = (V2_BLOCKS if version == 2 else V3_LARGE_BLOCKS), EPS[version]
        in_channels, activation = (32, nn.ReLU6) if version == 2 else (16, nn.Hardswish)
        layers: list[nn.Module] = [_conv_bn(3, in_channels, 3, eps, stride=2, activation=activation)]
        nominal_stride, stride_so_far, rate = 2, 2, 1
        self.low_level: dict[int, int] = {}  # stride -> index of the last block there
        self.low_level_channels: dict[int, int] = {}
        for index, block in enumerate(blocks):
            stride = block.stride if stride_so_far < output_stride else 1
            next_rate = rate * block.stride // stride
            own_rate = next_rate if stride_unit == "first_dilated" else rate
            layers.append(InvertedResidual(in_channels, block, stride=stride, rate=own_rate, version=version))
            nominal_stride *= block.stride
            if nominal_stride in (4, 8) and block.stride == 1:
                self.low_level[nominal_stride], self.low_level_channels[nominal_stride] = index, block.expanded
            in_channels, stride_so_far, rate = block.channels, stride_so_far * stride, next_rate
        if version == 3:
            layers.append(_conv_bn(in_channels, 6 * in_channels, 1, eps, activation=activation))
            in_channels *= 6
        self.features = nn.Sequential(*layers)
        self.out_channels = in_channels
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        if pretrained:
            name = "mobilenet_v2" if version == 2 else "mobilenet_v3_large"
            state = imagenet_state_dict(name)
            # V2 ends before the 1x1 convolution to 1280 channels, which is features.18 in torchvision.
            unused = ("classifier.", "features.18.") if version == 2 else ("classifier.",)
            self.load_state_dict({key: value for key, value in state.items() if not key.startswith(unused)})

    def forward(self, images: Tensor) -> tuple[dict[int, Tensor], Tensor]:
        """Map images (B, 3, H, W) to low-level features by stride and the last ones (B, C, H/stride, W/stride)."""
        depthwise = []
        features = images
        for layer in self.features:
            if isinstance(layer, InvertedResidual):
                inner, features = layer(features)
                depthwise.append(inner)
            else:
                features = layer(features)
        return {stride: depthwise[index] for stride, index in self.low_level.items()}, features


def _conv_bn(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    eps: float,
    *,
    stride: int = 1,
    activation: type[nn.Module] | None = None,
) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)
    layers = [conv, nn.BatchNorm2d(out_channels, eps)]
    return nn.Sequential(*layers, *([activation(inplace=True)] if activation else []))
