"""MobileNetV2 (arXiv:1801.04381) and MobileNetV3 (arXiv:1905.02244) with atrous convolution."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from deeplab_lightning.models.imagenet import for_channels, imagenet_state_dict
from deeplab_lightning.models.mobilenet_blocks import STEM_CHANNELS, V3_BLOCKS, Block, v2_blocks

Padding = Literal["symmetric", "same"]
EPS = {2: 1e-5, 3: 1e-3}  # the batch norms' epsilon in torchvision, by version
ACTIVATIONS: dict[int, type[nn.Module]] = {2: nn.ReLU6, 3: nn.Hardswish}
MOBILENETS = ("mobilenet_v2", *V3_BLOCKS)


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME": where a stride leaves a choice, the end gets the odd position.

    With stride 2, an even side has one position less before its start than with symmetric padding. The kernel is at
    least as wide as the stride.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's own name)
        """Map (B, C, h, w) to (B, C', ceil(h / stride), ceil(w / stride))."""
        pads: list[int] = []
        for axis in (1, 0):  # F.pad begins with the last axis
            side, stride = input.shape[2 + axis], self.stride[axis]
            reach = self.dilation[axis] * (self.kernel_size[axis] - 1)
            before = (reach + 1 - stride + -side % stride) // 2
            # The sum of both is constant. TensorFlow leaves out the last position where no kernel reaches it, but with
            # a sum that depends on the side, torch.export's formula of the side has 10, 36, 118 operations after one,
            # two, three strided layers, and takes six times as long at each (torch 2.15); MobileNets have five.
            pads += [before, reach - before]
        return F.conv2d(
            F.pad(input, pads), self.weight, self.bias, self.stride, dilation=self.dilation, groups=self.groups
        )


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
        eps: Epsilon of the batch norms.
        strided_padding: Padding of a strided convolution.
    """

    def __init__(
        self,
        in_channels: int,
        block: Block,
        *,
        stride: int,
        rate: int,
        version: int,
        eps: float,
        strided_padding: Padding,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if block.expanded != in_channels:
            layers.append(_conv_bn(in_channels, block.expanded, 1, eps, activation=block.activation))
        depthwise = _conv_class(strided_padding, stride)(
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
    """MobileNetV2 up to its 320 channels, or MobileNetV3 with its last 1x1; the parameters have torchvision's names.

    Where a block would stride past `output_stride`, its stride becomes 1 and the blocks after it use a larger rate. The
    low-level features at a stride are the depthwise output of the last block at that stride, as in the TensorFlow
    release (feature_extractor.py): 144 and 192 channels at stride 4 and 8 in V2, 72 and 120 in V3-Large, 16 and 88 in
    V3-Small.

    Args:
        name: One of MOBILENETS. Those with "seg" in their name are the release's for segmentation, whose last blocks
            have half the channels.
        output_stride: Side of the image divided by the side of the last features: 8, 16 or 32.
        stride_unit: Rate of a convolution that loses its stride. "first": the rate of the block before, so that
            features at two output strides agree. "first_dilated" (V3 only): the larger rate of the blocks after it, as
            in torchvision's DeepLabv3.
        width_multiplier: Factor of all widths of V2, a multiple of 1/8. Widths are not rounded to multiples of 8.
        batch_norm_eps: Epsilon of the batch norms; if not given, torchvision's (1e-5 in V2, 1e-3 in V3). The release
            has 1e-3.
        strided_padding: Padding of strided convolutions: "symmetric" as in torchvision, or "same" as in the release;
            they differ where a strided convolution meets an even side.
        pretrained: ImageNet weights of torchvision are loaded, which has no narrow networks.
        in_channels: Number of channels of the images; see `for_channels` for the ImageNet weights.

    Raises:
        ValueError: A setting has none of these values, or does not exist for the network.
    """

    def __init__(
        self,
        name: str,
        output_stride: int = 16,
        *,
        stride_unit: str = "first",
        width_multiplier: float = 1.0,
        batch_norm_eps: float | None = None,
        strided_padding: Padding = "symmetric",
        pretrained: bool = False,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        _check(name, output_stride, stride_unit, strided_padding)
        _check_width(name, width_multiplier, pretrained)
        self.output_stride, self.in_channels = output_stride, in_channels
        version = 2 if name == "mobilenet_v2" else 3
        blocks = v2_blocks(width_multiplier) if version == 2 else V3_BLOCKS[name]
        eps = EPS[version] if batch_norm_eps is None else batch_norm_eps
        width, activation = round(STEM_CHANNELS[version] * width_multiplier), ACTIVATIONS[version]
        conv = _conv_class(strided_padding, 2)
        layers: list[nn.Module] = [_conv_bn(in_channels, width, 3, eps, stride=2, activation=activation, conv=conv)]
        nominal_stride, stride_so_far, rate = 2, 2, 1
        self.low_level: dict[int, int] = {}  # stride -> index of the last block there
        self.low_level_channels: dict[int, int] = {}
        for index, block in enumerate(blocks):
            stride = block.stride if stride_so_far < output_stride else 1
            next_rate = rate * block.stride // stride
            own_rate = next_rate if stride_unit == "first_dilated" else rate
            settings = {"stride": stride, "rate": own_rate, "version": version}
            layers.append(InvertedResidual(width, block, **settings, eps=eps, strided_padding=strided_padding))
            nominal_stride *= block.stride
            if nominal_stride in (4, 8):
                self.low_level[nominal_stride], self.low_level_channels[nominal_stride] = index, block.expanded
            width, stride_so_far, rate = block.channels, stride_so_far * stride, next_rate
        if version == 3:
            layers.append(_conv_bn(width, 6 * width, 1, eps, activation=activation))
            width *= 6
        self.features = nn.Sequential(*layers)
        self.out_channels = width
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        if pretrained:
            # V2 ends before the 1x1 convolution to 1280 channels, which is features.18 in torchvision.
            unused = ("classifier.", "features.18.") if version == 2 else ("classifier.",)
            state = {key: value for key, value in imagenet_state_dict(name).items() if not key.startswith(unused)}
            self.load_state_dict(for_channels(state, self.state_dict()))

    def forward(self, images: Tensor) -> tuple[dict[int, Tensor], Tensor]:
        """Map images (B, C, H, W) to low-level features by stride and the last ones (B, C', H/stride, W/stride)."""
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
    conv: type[nn.Conv2d] = nn.Conv2d,
) -> nn.Sequential:
    layer = conv(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)
    layers = [layer, nn.BatchNorm2d(out_channels, eps)]
    return nn.Sequential(*layers, *([activation(inplace=True)] if activation else []))


def _conv_class(padding: Padding, stride: int) -> type[nn.Conv2d]:
    return SameConv2d if padding == "same" and stride > 1 else nn.Conv2d


def _check(name: str, output_stride: int, stride_unit: str, padding: str) -> None:
    if name not in MOBILENETS:
        raise ValueError(f"name must be one of {', '.join(MOBILENETS)}, got {name!r}")
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride}")
    if stride_unit not in ("first", "first_dilated") or (stride_unit != "first" and name == "mobilenet_v2"):
        raise ValueError(f"stride_unit {stride_unit!r} does not exist for backbone {name!r}")
    if padding not in ("symmetric", "same"):
        raise ValueError(f"strided_padding must be 'symmetric' or 'same', got {padding!r}")


def _check_width(name: str, width_multiplier: float, pretrained: bool) -> None:
    if width_multiplier <= 0 or width_multiplier * 8 != int(width_multiplier * 8):
        raise ValueError(f"width_multiplier must be a multiple of 1/8, got {width_multiplier}")
    if width_multiplier != 1 and name != "mobilenet_v2":
        raise ValueError(f"width_multiplier acts on mobilenet_v2 only, not on {name}")
    if pretrained and (width_multiplier != 1 or name.endswith("_seg")):
        raise ValueError(f"torchvision has no ImageNet weights for {name} at width {width_multiplier}")
