"""DeepLab v1 (arXiv:1412.7062): an atrous VGG-16, a convolutional classifier, multi-scale prediction (MSc)."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from deeplab_lightning.models.dropout import SampleDropout
from deeplab_lightning.models.imagenet import asks_for_imagenet
from deeplab_lightning.models.layers import SegmentationNetwork, gaussian, upsample
from deeplab_lightning.models.vgg import VGG16, ConvolutionalFC, field_of_view, load_imagenet

BRANCH_CHANNELS = 128
BRANCH_STRIDES = (8, 4, 2, 1, 1)
DENSE_STRIDES = (8, 1, 2, 4, 8, 8)  # strides of the logits of fc8 and of each branch at test time
POOL3, POOL4 = 3, 4  # indices of the branches that are initialised differently; branch 0 reads the image


class MultiScalePrediction(nn.Module):
    """The MSc branches (section 4.3): the image and pool1 to pool4, each through a 3x3 and a 1x1 of 128 channels.

    In training, each 3x3 convolution strides down to the grid of the last features: by 8 from the image, by 4, 2, 1 and
    1 from pool1 to pool4. At test time it runs with stride 1, so that a branch's map is as fine as its input. Weights
    start from N(0, 0.001), those of pool4's 1x1 from N(0, 0.005). Strides and fillers are those of the authors'
    train.prototxt and test.prototxt, the same for DeepLab-MSc and MSc-LargeFOV.
    """

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        sources = zip((in_channels, *VGG16.pool_channels), BRANCH_STRIDES, strict=True)
        self.branches = nn.ModuleList(
            nn.Sequential(
                gaussian(nn.Conv2d(channels, BRANCH_CHANNELS, 3, stride, padding=1), 0.001),
                nn.ReLU(inplace=True),
                SampleDropout(0.5),
                gaussian(nn.Conv2d(BRANCH_CHANNELS, BRANCH_CHANNELS, 1), 0.005 if number == POOL4 else 0.001),
                nn.ReLU(inplace=True),
                SampleDropout(0.5),
            )
            for number, (channels, stride) in enumerate(sources)
        )

    def forward(self, images: Tensor, pools: list[Tensor], size: tuple[int, int]) -> list[Tensor]:
        """Map images (B, C, H, W) and the features of pool1 to pool4 to five maps (B, 128, *size)."""
        # For an even side, ceil-mode pooling gives one position more than a strided 3x3 convolution. Zeros fill it.
        maps = [branch(source) for branch, source in zip(self.branches, [images, *pools], strict=True)]
        return [F.pad(features, (0, size[1] - features.shape[3], 0, size[0] - features.shape[2])) for features in maps]

    def forward_dense(self, images: Tensor, pools: list[Tensor]) -> list[Tensor]:
        """Map images (B, C, H, W) and pool1 to pool4 to five maps (B, 128, h, w), each of its input's size."""
        maps = []
        for branch, features in zip(self.branches, [images, *pools], strict=True):
            assert isinstance(branch, nn.Sequential)
            conv, *layers = branch
            assert isinstance(conv, nn.Conv2d)
            features = F.conv2d(features, conv.weight, conv.bias, stride=1, padding=1)  # the layer itself would stride
            for layer in layers:
                features = layer(features)
            maps.append(features)
        return maps


class DeepLabV1(SegmentationNetwork):
    """VGG-16, fc6 and fc7 as convolutions, a 1x1 classifier at output stride 8.

    The papers' four classifiers are kernel_size and rate 7 and 4, 4 and 4, 4 and 8 (all with 4096 channels), 3 and 12
    with 1024 channels (LargeFOV). `forward_features` is the release's training net and `forward` its test net. With MSc
    or 2x2 poolings, they differ by more than the upsampling.

    Args:
        num_classes: Number of classes K, background included.
        kernel_size: Side of fc6's kernel: 3 (LargeFOV), 4 or 7.
        rate: Atrous rate of fc6: 12 (LargeFOV), 8 or 4.
        fc_channels: Number of channels of fc6 and fc7: 1024 (LargeFOV) or 4096.
        multi_scale: The MSc branches on the image and pool1 to pool4 are added; the logits are the sum of all six
            classifiers.
        pool_size: Side of pool1 to pool4: 3, or 2 as in the release's 4x4 model, which trains on sides of 8k + 2.
        pool5a: The trunk ends in an average pooling, as in the release's LargeFOV and MSc-LargeFOV.
        pretrained: ImageNet weights are loaded into the trunk and, subsampled, into fc6 and fc7. On the command line, a
            name of `deeplab weights list` loads the backbone of these weights.
        align_corners: Grid of the upsampling: True is Caffe's, exact for sides of 8k + 1.
        in_channels: Number of channels of the images; on the command line it follows from the data. For another number
            than three, the kernels of pretrained weights' first convolution are repeated.

    Raises:
        ValueError: A setting is invalid, alone or together with another.
    """

    def __init__(
        self,
        num_classes: int,
        kernel_size: int = 3,
        rate: int = 12,
        fc_channels: int = 1024,
        multi_scale: bool = False,
        pool_size: int = 3,
        pool5a: bool = True,
        pretrained: bool | str = False,
        align_corners: bool = True,
        in_channels: int = 3,
    ) -> None:
        super().__init__(num_classes, 8, align_corners)
        if multi_scale and pool_size == 2:
            raise ValueError("multi_scale needs pool_size 3, as in the release's MSc models, got 2")
        self.backbone = VGG16(pool5a, pool_size, in_channels)
        self.grid_offset = 1 if pool_size == 2 else 0
        self.head = ConvolutionalFC(kernel_size, rate, fc_channels)
        self.decoder = MultiScalePrediction(in_channels) if multi_scale else None
        widths = [fc_channels, *[BRANCH_CHANNELS] * 5] if multi_scale else [fc_channels]
        self.classifier = nn.ModuleList(gaussian(nn.Conv2d(width, num_classes, 1), 0.01) for width in widths)
        if multi_scale:
            nn.init.zeros_(self.classifier[1 + POOL3].weight)  # type: ignore[arg-type]  # no filler in the release
        self.field_of_view = field_of_view(kernel_size, rate)
        if asks_for_imagenet(pretrained):
            load_imagenet(self.backbone, [self.head])

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, K, H/8, W/8)."""
        pools, features = self.backbone(images)
        maps: list[Tensor] = [self.head(features)]
        if self.decoder is not None:
            maps += self.decoder(images, pools, features.shape[2:])
        logits: list[Tensor] = [
            classifier(features) for classifier, features in zip(self.classifier, maps, strict=True)
        ]
        return sum(logits[1:], logits[0])

    def forward_coarse(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to the logits (B, K, h, w) that `forward` upsamples; of MSc and 2x2 poolings, h = H.

        The MSc branches keep their own resolution: their logits are upsampled one by one, then added (test.prototxt).
        """
        padded = self.backbone.pool_size == 2
        if self.decoder is None and not padded:
            return self.forward_features(images)
        pools, features = self.backbone(images, pad_pool4=padded)
        first = 7 if padded else 0  # with pool4 padded, position i lies over pixel 8i - 7
        maps = [self.head(features)]
        if self.decoder is not None:
            maps += self.decoder.forward_dense(images, pools)
        logits: list[Tensor] = [
            zoom(layer(own), stride, first, images.shape[2:])
            for layer, own, stride in zip(self.classifier, maps, DENSE_STRIDES[: len(maps)], strict=True)
        ]
        return sum(logits[1:], logits[0])


def zoom(features: Tensor, factor: int, first: int, size: Sequence[int]) -> Tensor:
    """Upsample (B, C, h, w) like Caffe's Interp layer with a zoom factor, and crop (B, C, *size) from pixel `first` on.

    Positions stay `factor` pixels apart, whatever the size. Because of ceil-mode pooling, the zoomed map may be larger
    than the crop.
    """
    zoomed = upsample(features, [(side - 1) * factor + 1 for side in features.shape[2:]], align_corners=True)
    surplus = [zoomed.shape[2 + axis] - first - size[axis] for axis in (0, 1)]
    # torch.export would keep a slice for sides with a surplus alone, or for those without, as in its example.
    return F.pad(zoomed, (-first, -surplus[1], -first, -surplus[0]))
