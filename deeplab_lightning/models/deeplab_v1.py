"""DeepLab v1 (arXiv:1412.7062): VGG-16 with holes, a convolutional classifier, multi-scale prediction (MSc)."""

from torch import Tensor, nn

from deeplab_lightning.models.layers import SegmentationNetwork, gaussian
from deeplab_lightning.models.vgg import VGG16, ConvolutionalFC, field_of_view, load_imagenet

BRANCH_CHANNELS = 128


class MultiScalePrediction(nn.Module):
    """The MSc branches (section 4.3): the image and pool1 to pool4, each through a 3x3 and a 1x1 of 128 channels.

    The 3x3 strides down to the grid of the last features: by 8 from the image, then 4, 2, 1, 1. Weights start from
    N(0, 0.001) (?): ports of the release agree on it, the release's own file is not published.
    """

    def __init__(self) -> None:
        super().__init__()
        sources = zip((3, *VGG16.pool_channels), (8, 4, 2, 1, 1), strict=True)
        self.branches = nn.ModuleList(
            nn.Sequential(
                gaussian(nn.Conv2d(channels, BRANCH_CHANNELS, 3, stride, 1), 0.001),
                nn.ReLU(inplace=True),
                nn.Dropout(0.5),
                gaussian(nn.Conv2d(BRANCH_CHANNELS, BRANCH_CHANNELS, 1), 0.001),
                nn.ReLU(inplace=True),
                nn.Dropout(0.5),
            )
            for channels, stride in sources
        )

    def forward(self, images: Tensor, pools: list[Tensor], size: tuple[int, int]) -> list[Tensor]:
        """Map images (B, 3, H, W) and four poolings to five maps (B, 128, *size)."""
        sources = [images, *pools]
        # Ceil-mode pooling gives an even side one position more than a strided 3x3: zeros stand for it
        maps = [branch(source) for branch, source in zip(self.branches, sources, strict=True)]
        return [
            nn.functional.pad(features, (0, size[1] - features.shape[3], 0, size[0] - features.shape[2]))
            for features in maps
        ]


class DeepLabV1(SegmentationNetwork):
    """VGG-16, fc6 and fc7 as convolutions, a 1x1 classifier at output stride 8.

    The papers' four classifiers are kernel_size and rate 7 and 4, 4 and 4, 4 and 8 (all with 4096 channels), 3 and 12
    with 1024 channels (LargeFOV). All stand on the trunk of the released LargeFOV model; the first release of the 4x4
    one had 2x2 poolings instead.

    Args:
        num_classes: K, background included.
        kernel_size: of fc6.
        rate: of fc6.
        fc_channels: of fc6 and fc7.
        multi_scale: add the MSc branches; logits are the sum of all six classifiers.
        pretrained: load ImageNet weights into the trunk, and thinned out into fc6 and fc7.
        align_corners: see `SegmentationNetwork`.
    """

    def __init__(
        self,
        num_classes: int,
        kernel_size: int = 3,
        rate: int = 12,
        fc_channels: int = 1024,
        multi_scale: bool = False,
        pretrained: bool = False,
        align_corners: bool = True,
    ) -> None:
        super().__init__(num_classes, 8, align_corners)
        self.backbone = VGG16(pool5a=True)
        self.head = ConvolutionalFC(kernel_size, rate, fc_channels)
        self.decoder = MultiScalePrediction() if multi_scale else None
        widths = [fc_channels, *[BRANCH_CHANNELS] * 5] if multi_scale else [fc_channels]
        self.classifier = nn.ModuleList(gaussian(nn.Conv2d(width, num_classes, 1), 0.01) for width in widths)
        self.field_of_view = field_of_view(kernel_size, rate)
        if pretrained:
            load_imagenet(self.backbone, [self.head])

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to logits (B, K, H/8, W/8)."""
        pools, features = self.backbone(images)
        maps: list[Tensor] = [self.head(features)]
        if self.decoder is not None:
            maps += self.decoder(images, pools, features.shape[2:])
        logits: Tensor = sum(classifier(features) for classifier, features in zip(self.classifier, maps, strict=True))
        return logits
