"""VGG-16 as DeepLab v1 and v2 use it: convolutional, output stride 8, atrous convolution in conv5.

The network is that of Simonyan and Zisserman, arXiv:1409.1556; its use as a trunk is that of arXiv:1412.7062, section
3.1.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeplab_lightning.models.dropout import SampleDropout
from deeplab_lightning.models.imagenet import for_channels, imagenet_state_dict

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
LINEAR_SIDE = 7  # fc6 of the ImageNet network sees 7x7 positions
LINEAR_CHANNELS = 4096
SLICE = 512  # output channels of one convolution on the CPU


class VGG16(nn.Module):
    """A VGG-16 trunk from conv1_1 to pool5 that also returns pool1 to pool4; parameters have torchvision's names.

    All poolings have Caffe's ceil sizes. pool4 and pool5 do not stride; conv5 has rate 2 in place of the stride that
    pool4 lost. With poolings of 3x3, a side of 321 becomes 161, 81, 41, and position i of the last map lies over pixel
    8i. With poolings of 2x2, a side of 306 becomes 154, 78, 40 and, by pool4, 39; position i lies over pixel 8i + 1.

    Args:
        pool5a: The trunk ends in a 3x3 average pooling, as only in the release's LargeFOV models.
        pool_size: Side of pool1 to pool4, 3 or 2. The release's 4x4 model has 2, its other models have 3; pool5 is 3x3
            in all of them.
        in_channels: Number of channels of the images.
    """

    out_channels = 512
    pool_channels = tuple(stage[-1] for stage in STAGES[:4])

    def __init__(self, pool5a: bool, pool_size: int = 3, in_channels: int = 3) -> None:
        super().__init__()
        if pool_size not in (2, 3):
            raise ValueError(f"pool_size must be 2 or 3, got {pool_size}")
        self.pool_size, self.in_channels = pool_size, in_channels
        layers: list[nn.Module] = []
        channels = in_channels
        for number, stage in enumerate(STAGES):
            rate = 2 if number == 4 else 1
            for width in stage:
                layers += [nn.Conv2d(channels, width, 3, padding=rate, dilation=rate), nn.ReLU(inplace=True)]
                channels = width
            side = pool_size if number < 4 else 3
            padding = 0 if side == 2 and number == 3 else 1
            layers.append(nn.MaxPool2d(side, 2 if number < 3 else 1, padding, ceil_mode=True))
        self.features = nn.Sequential(*layers)
        # Caffe divides by the padded window: count_include_pad
        self.pool5a = nn.AvgPool2d(3, 1, 1) if pool5a else nn.Identity()
        initialize(self)

    def forward(self, images: Tensor, pad_pool4: bool = False) -> tuple[list[Tensor], Tensor]:
        """Map images (B, C, H, W) to pool1 to pool4 at strides 2, 4, 8 and 8, and the last features (B, 512, h, w).

        With `pad_pool4`, the input of pool4 is padded by one zero on all sides, as in the release's 4x4 model at test
        time.
        """
        pools: list[Tensor] = []
        features = images
        for number in range(len(STAGES)):
            features = self.run_stage(number, features, pad_pool4 and number == 3)
            pools.append(features)
        return pools[:4], self.pool5a(features)

    def run_stage(self, number: int, features: Tensor, padded: bool) -> Tensor:
        """Map features (B, C, h, w) through the convolutions of a stage and its pooling, whose input may be padded."""
        pools = [index for index, layer in enumerate(self.features) if isinstance(layer, nn.MaxPool2d)]
        for layer in self.features[pools[number - 1] + 1 if number else 0 : pools[number]]:
            features = layer(features)
        if padded:
            features = F.pad(features, (1, 1, 1, 1))  # max pooling after a ReLU ignores zeros
        pooled: Tensor = self.features[pools[number]](features)
        return pooled


class SlicedConv2d(nn.Conv2d):
    """A convolution with a bias and without groups that the CPU computes in slices of its output channels.

    On the CPU, oneDNN takes minutes for the gradient of a weight as large as that of a 7x7 fc6; in slices it takes
    seconds.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, C, H, W) to (B, C', H', W')."""
        if features.device.type != "cpu":
            return super().forward(features)
        assert self.bias is not None
        slices = zip(torch.split(self.weight, SLICE), torch.split(self.bias, SLICE), strict=True)
        return torch.cat([self._conv_forward(features, weight, bias) for weight, bias in slices], 1)


class ConvolutionalFC(nn.Sequential):
    """fc6 and fc7 of VGG-16 as convolutions, each with ReLU and dropout of 0.5.

    Args:
        kernel_size: Side of fc6's kernel.
        rate: Atrous rate of fc6.
        channels: Number of channels of fc6 and fc7: 4096 as on ImageNet, 1024 in LargeFOV.

    Raises:
        ValueError: The number of channels does not divide 4096, or fc6 is not possible with this kernel and rate.
    """

    def __init__(self, kernel_size: int, rate: int, channels: int) -> None:
        if LINEAR_CHANNELS % channels:
            raise ValueError(f"fc_channels must divide {LINEAR_CHANNELS}, got {channels}")
        if (kernel_size - 1) * rate % 2:
            raise ValueError(f"kernel_size {kernel_size} with rate {rate} has no symmetric padding")
        if not 1 < kernel_size <= LINEAR_SIDE or rate < 1:
            raise ValueError(f"fc6 takes kernels of 2 to 7 and rates of at least 1, got {kernel_size} and {rate}")
        padding = (kernel_size - 1) * rate // 2
        fc6 = SlicedConv2d(VGG16.out_channels, channels, kernel_size, padding=padding, dilation=rate)
        fc7 = nn.Conv2d(channels, channels, 1)
        super().__init__(fc6, nn.ReLU(inplace=True), SampleDropout(0.5), fc7, nn.ReLU(inplace=True), SampleDropout(0.5))
        initialize(self)

    def load_imagenet(self, state: dict[str, Tensor]) -> None:
        """Load fc6 and fc7 from torchvision's VGG-16, subsampled in space and channels (v1, section 3.2)."""
        fc6, fc7 = self[0], self[3]
        assert isinstance(fc6, nn.Conv2d)
        assert isinstance(fc7, nn.Conv2d)
        kernels = state["classifier.0.weight"].view(LINEAR_CHANNELS, VGG16.out_channels, LINEAR_SIDE, LINEAR_SIDE)
        weights = {
            "0.weight": decimate_kernels(kernels, fc6.out_channels, fc6.kernel_size[0]),
            "0.bias": state["classifier.0.bias"][:: LINEAR_CHANNELS // fc6.out_channels],
            "3.weight": decimate_fc7(state["classifier.3.weight"], fc7.out_channels),
            "3.bias": state["classifier.3.bias"][:: LINEAR_CHANNELS // fc7.out_channels],
        }
        self.load_state_dict(weights)


def decimate_kernels(kernels: Tensor, channels: int, side: int) -> Tensor:
    """Keep evenly spaced filters and positions of kernels (C, C', 7, 7), to (channels, C', side, side).

    The papers keep a random quarter of the filters. Hidden units have no order, so that evenly spaced ones are as good
    as random ones. A side of 7 keeps every position, 4 every second and 3 every third; other sides keep the positions
    nearest to an even spacing.
    """
    positions = [round(index * (kernels.shape[-1] - 1) / (side - 1)) for index in range(side)]
    return kernels[:: len(kernels) // channels][:, :, positions][..., positions]


def decimate_fc7(weight: Tensor, channels: int) -> Tensor:
    """Keep the rows and columns of a linear layer (C, C) for the kept channels, to (channels, channels, 1, 1)."""
    step = len(weight) // channels
    return weight[::step, ::step, None, None]


def initialize(layer: nn.Module) -> None:
    """Initialise all convolutions after He, their biases with 0."""
    for part in layer.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_in", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def load_imagenet(trunk: VGG16, heads: Iterable[nn.Module]) -> None:
    """Load torchvision's ImageNet weights into a trunk and into every pair of fc6 and fc7 on top of it.

    The trunk may take other images than RGB; see `for_channels`.
    """
    state = imagenet_state_dict("vgg16")
    own = {key: value for key, value in state.items() if key.startswith("features.")}
    trunk.load_state_dict(for_channels(own, trunk.state_dict()))
    for head in heads:
        assert isinstance(head, ConvolutionalFC)
        head.load_imagenet(state)


def field_of_view(kernel_size: int, rate: int) -> int:
    """Return the side in pixels of fc6's field of view as v1's Table 2 counts it, zero padding included."""
    return (kernel_size - 1) * rate * 8 + 32
