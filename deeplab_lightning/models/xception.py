"""Aligned Xception 41, 65, 71 with atrous convolution (v3+, arXiv:1802.02611, section 3.2; the release's code)."""

from collections.abc import Sequence

from torch import Tensor, nn

from deeplab_lightning.models.imagenet import for_channels, imagenet_state_dict

EPS = 1e-3  # the batch norms' epsilon in the release
# By depth: channels of the entry flow's modules, their strides, and the number of middle modules.
FLOWS = {
    41: ((128, 256, 728), (2, 2, 2), 8),
    65: ((128, 256, 728), (2, 2, 2), 16),
    71: ((128, 256, 256, 728, 728), (2, 1, 2, 1, 2), 16),
}
XCEPTIONS = {f"xception{depth}": depth for depth in FLOWS}
LAST_CHANNELS = (1536, 1536, 2048)


class SeparableConv(nn.Module):
    """A depthwise 3x3 and a pointwise 1x1 convolution, each with BN and, on request, a ReLU.

    Args:
        in_channels: Number of channels of the input.
        out_channels: Number of channels of the output.
        stride: Stride of the depthwise convolution.
        rate: Atrous rate of the depthwise convolution.
        relu_after_depthwise: A ReLU follows the depthwise convolution's BN.
        relu: A ReLU follows the pointwise convolution's BN.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, rate: int, relu_after_depthwise: bool, relu: bool
    ) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(
            in_channels, in_channels, 3, stride, padding=rate, dilation=rate, groups=in_channels, bias=False
        )
        self.bn_dw = nn.BatchNorm2d(in_channels, EPS)
        self.act_dw = nn.ReLU(inplace=True) if relu_after_depthwise else nn.Identity()
        self.conv_pw = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn_pw = nn.BatchNorm2d(out_channels, EPS)
        self.act_pw = nn.ReLU(inplace=True) if relu else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, C', h / stride, w / stride)."""
        features = self.act_dw(self.bn_dw(self.conv_dw(features)))
        out: Tensor = self.act_pw(self.bn_pw(self.conv_pw(features)))
        return out


class ConvNorm(nn.Module):
    """Convolution and BN, with a ReLU in the root block and without one in a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, *, relu: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, EPS)
        self.act = nn.ReLU(inplace=True) if relu else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, C', h / stride, w / stride)."""
        out: Tensor = self.act(self.bn(self.conv(features)))
        return out


class XceptionModule(nn.Module):
    """Three separable convolutions, the third with the stride, and a shortcut, which some modules project (Figure 4).

    The modules of the entry flow, of the middle flow and the first of the exit flow have a ReLU before each separable
    convolution and none inside it, as in the release. The last module ("exit2") has no shortcut, and its ReLUs follow
    each convolution instead.

    Args:
        in_channels: Number of channels of the input.
        channels: Numbers of channels of the three convolutions.
        stride: Stride of the third convolution and of the shortcut.
        rate: Atrous rate of the three convolutions.
        project: The shortcut is a 1x1 convolution.
        last: The module is the last one.
        relu_after_depthwise: A ReLU follows every depthwise convolution.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        *,
        stride: int,
        rate: int,
        project: bool,
        last: bool,
        relu_after_depthwise: bool,
    ) -> None:
        super().__init__()
        self.last = last
        self.stack = nn.Sequential()
        for number in range(1, 4):
            if not last:
                # Only the second ReLU may work in place: the first one's input is also that of the shortcut, and the
                # third one's input is returned as the low-level features.
                self.stack.add_module(f"act{number}", nn.ReLU(inplace=number == 2))
            conv = SeparableConv(
                in_channels if number == 1 else channels[number - 2],
                channels[number - 1],
                stride=stride if number == 3 else 1,
                rate=rate,
                relu_after_depthwise=relu_after_depthwise or last,
                relu=last,
            )
            self.stack.add_module(f"conv{number}", conv)
        self.shortcut = ConvNorm(in_channels, channels[-1], 1, stride, relu=False) if project else None
        self.num_to_second = len(self.stack) * 2 // 3  # layers up to the second convolution

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, C, h, w) to the second convolution's output (B, C', h, w) and (B, C'', h / stride, w / stride)."""
        middle = self.stack[: self.num_to_second](features)
        out = self.stack[self.num_to_second :](middle)
        if self.last:
            return middle, out
        return middle, out + (features if self.shortcut is None else self.shortcut(features))


class Xception(nn.Module):
    """An aligned Xception that returns low-level and last features; the parameters have timm's names.

    Where a module would stride past `output_stride`, it runs with stride 1 at the current rate, and the modules after
    it use a larger rate. The low-level features at a stride come from the module that strides on from there: the output
    of its second separable convolution, normalised, before ReLU and stride. They have 256 channels at stride 4 and 728
    at stride 8.

    Args:
        depth: Number of layers: 41, 65 or 71.
        output_stride: Side of the image divided by the side of the last features: 8, 16 or 32.
        relu_after_depthwise: A ReLU follows every depthwise convolution, as the paper's text says. In the release, and
            therefore in the ImageNet weights, only the last module has it.
        pretrained: ImageNet weights are loaded from timm, which has those of the release.
        in_channels: Number of channels of the images; see `for_channels` for the ImageNet weights.

    Raises:
        ValueError: The depth or the output stride has none of these values.
    """

    def __init__(
        self,
        depth: int,
        output_stride: int = 16,
        relu_after_depthwise: bool = False,
        pretrained: bool = False,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if depth not in FLOWS:
            raise ValueError(f"depth must be one of {sorted(FLOWS)}, got {depth}")
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride}")
        self.output_stride, self.relu_after_depthwise = output_stride, relu_after_depthwise
        self.in_channels = in_channels
        self.stem = nn.Sequential(ConvNorm(in_channels, 32, 3, 2, relu=True), ConvNorm(32, 64, 3, 1, relu=True))
        entry, strides, num_middle = FLOWS[depth]
        # The modules that stride on from stride 4 and from stride 8, whether or not they keep their own stride here.
        self.low_level = {4: strides.index(2, 1), 8: len(strides) - 1}
        self.low_level_channels = {stride: entry[index] for stride, index in self.low_level.items()}
        plan = [((width,) * 3, stride) for width, stride in zip(entry, strides, strict=True)]
        plan += [((728,) * 3, 1)] * num_middle + [((728, 1024, 1024), 2), (LAST_CHANNELS, 1)]
        modules, width, stride_so_far, rate = [], 64, 2, 1
        for channels, nominal_stride in plan:
            stride = nominal_stride if stride_so_far < output_stride else 1
            last = channels == LAST_CHANNELS
            modules.append(
                XceptionModule(
                    width,
                    channels,
                    stride=stride,
                    rate=rate,
                    project=not last and (nominal_stride > 1 or width != channels[-1]),
                    last=last,
                    relu_after_depthwise=relu_after_depthwise,
                )
            )
            width, stride_so_far, rate = channels[-1], stride_so_far * stride, rate * nominal_stride // stride
        self.blocks = nn.ModuleList(modules)
        self.out_channels = width
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        if pretrained:
            state = imagenet_state_dict(f"timm/xception{depth}.tf_in1k")
            self.load_state_dict(for_channels(state, self.state_dict()))

    def forward(self, images: Tensor) -> tuple[dict[int, Tensor], Tensor]:
        """Map images (B, C, H, W) to low-level features by stride and the last ones (B, 2048, H/stride, W/stride)."""
        features = self.stem(images)
        middles = []
        for module in self.blocks:
            middle, features = module(features)
            middles.append(middle)
        return {stride: middles[index] for stride, index in self.low_level.items()}, features
