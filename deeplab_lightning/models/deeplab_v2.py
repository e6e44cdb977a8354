"""DeepLab v2 (arXiv:1606.00915): atrous spatial pyramid pooling by summed classifiers, on VGG-16 or a ResNet."""

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor, nn

from deeplab_lightning.models.imagenet import asks_for_imagenet
from deeplab_lightning.models.layers import SegmentationNetwork, gaussian, upsample
from deeplab_lightning.models.resnet import ResNet, StrideUnit
from deeplab_lightning.models.vgg import VGG16, ConvolutionalFC, field_of_view, load_imagenet

FC_CHANNELS = 1024


class FCBranches(nn.Module):
    """One pair of fc6 (3x3) and fc7 (1x1) per rate, with 1024 channels (Figure 7 b)."""

    def __init__(self, atrous_rates: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(ConvolutionalFC(3, rate, FC_CHANNELS) for rate in atrous_rates)

    def forward(self, features: Tensor) -> list[Tensor]:
        """Map (B, 512, h, w) to one (B, 1024, h, w) per rate."""
        return [branch(features) for branch in self.branches]


class DeepLabV2(SegmentationNetwork):
    """A trunk at output stride 8 and one classifier per rate, summed (section 3.2, Figure 7).

    On VGG-16 a branch is fc6 with its rate, fc7 and a 1x1 classifier; on a ResNet it is a 3x3 classifier with its rate.
    One rate of 12 is LargeFOV, (2, 4, 8, 12) ASPP-S, (6, 12, 18, 24) ASPP-L. The VGG-16 has no pool5a (the release's
    train.prototxt of ASPP-L).

    Args:
        num_classes: Number of classes K, background included.
        backbone: One of "vgg16", "resnet50" or "resnet101".
        atrous_rates: Rates of the branches as used: (6, 12, 18, 24) is ASPP-L, (2, 4, 8, 12) ASPP-S, (12,) LargeFOV.
        classifier_kernel_size: Side of the kernels of a ResNet's classifiers: 3, or 1 with the single rate 1, as in
            Table 4 before LargeFOV.
        stride_unit: Unit that strides in a ResNet's block: "first_1x1" for weights that came from Caffe, "first" for
            torchvision's (see `ResNet`).
        input_scales: Scales at which the shared network sees the image, in training too. Logits are fused by the
            maximum, and each scale has its own loss in addition to that of the fusion ("MSC", section 3.2).
        pretrained: ImageNet weights are loaded into the backbone and, subsampled, into every fc6 and fc7. On the
            command line, a name of `deeplab weights list` loads the backbone of these weights.
        align_corners: Grid of every bilinear resize: True is Caffe's.
        in_channels: Number of channels of the images; on the command line it follows from the data. For another number
            than three, the kernels of pretrained weights' first convolution are repeated.

    Raises:
        ValueError: A setting is invalid, or the backbone does not have it.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet101",
        atrous_rates: Sequence[int] = (6, 12, 18, 24),
        classifier_kernel_size: int = 3,
        stride_unit: StrideUnit = "first_1x1",
        input_scales: Sequence[float] = (1.0,),
        pretrained: bool | str = False,
        align_corners: bool = True,
        in_channels: int = 3,
    ) -> None:
        super().__init__(num_classes, 8, align_corners)
        if not atrous_rates or min(atrous_rates) < 1:
            raise ValueError(f"atrous_rates must hold rates of at least 1, got {tuple(atrous_rates)}")
        if not input_scales or input_scales[0] != 1 or not all(0 < scale <= 1 for scale in input_scales):
            raise ValueError(f"input_scales must start with 1 and hold scales in (0, 1], got {tuple(input_scales)}")
        self.input_scales = tuple(input_scales)
        pretrained = asks_for_imagenet(pretrained)
        self.backbone: VGG16 | ResNet
        self.head: FCBranches | None
        if backbone == "vgg16":
            if classifier_kernel_size != 3 or stride_unit != "first_1x1":
                raise ValueError("classifier_kernel_size and stride_unit act on ResNets only, not on backbone 'vgg16'")
            trunk, branches = VGG16(pool5a=False, in_channels=in_channels), FCBranches(atrous_rates)
            self.backbone, self.head = trunk, branches
            layers = [nn.Conv2d(FC_CHANNELS, num_classes, 1) for _ in atrous_rates]
            self.field_of_view = max(field_of_view(3, rate) for rate in atrous_rates)
            if pretrained:
                load_imagenet(trunk, branches.branches)
        elif backbone in ("resnet50", "resnet101"):
            if classifier_kernel_size not in (1, 3) or (classifier_kernel_size == 1 and tuple(atrous_rates) != (1,)):
                raise ValueError(
                    "classifier_kernel_size must be 3, or 1 with atrous_rates [1], "
                    f"got {classifier_kernel_size} with {list(atrous_rates)}"
                )
            depth = int(backbone.removeprefix("resnet"))
            resnet = ResNet(depth, 8, stride_unit=stride_unit, pretrained=pretrained, in_channels=in_channels)
            self.backbone, self.head = resnet, None
            shape, padding = (resnet.out_channels, num_classes, classifier_kernel_size), classifier_kernel_size // 2
            layers = [nn.Conv2d(*shape, padding=rate * padding, dilation=rate) for rate in atrous_rates]
        else:
            raise ValueError(f"backbone must be 'vgg16', 'resnet50' or 'resnet101', got {backbone!r}")
        self.classifier = nn.ModuleList(gaussian(layer, 0.01) for layer in layers)

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, K, H/8, W/8), the maximum over `input_scales`."""
        return self.fuse(self.forward_scales(images))

    def forward_scales(self, images: Tensor) -> list[Tensor]:
        """Map images (B, C, H, W) to logits (B, K, h, w) of each input scale, each on its own grid."""
        return [self._forward_scale(self._scaled(images, scale)) for scale in self.input_scales]

    def fuse(self, logits: list[Tensor]) -> Tensor:
        """Take the maximum, class by class, of logits (B, K, h, w) upsampled to the grid of the first."""
        fused, *others = logits
        for other in others:
            fused = torch.maximum(fused, upsample(other, fused.shape[2:], self.align_corners))
        return fused

    def _scaled(self, images: Tensor, scale: float) -> Tensor:
        size = [scaled_side(side, scale, self.align_corners) for side in images.shape[2:]]
        return upsample(images, size, self.align_corners)

    def _forward_scale(self, images: Tensor) -> Tensor:
        features = self.backbone(images)[1]
        maps = [features] * len(self.classifier) if self.head is None else self.head(features)
        return torch.stack([layer(features) for layer, features in zip(self.classifier, maps, strict=True)]).sum(0)


def scaled_side(side: int, scale: float, align_corners: bool) -> int:
    """Return the side of an image at a scale, rounded half to even with aligned corners, else down.

    With aligned corners, a side of 321 becomes 241 at scale 0.75, and its grid of stride 8 has 31 positions. The
    arithmetic is that of integers without a branch, which `torch.export` keeps for every size; it cannot keep `round`.
    No dividend is negative, because ONNX divides integers towards 0.
    """
    share = Fraction(scale).limit_denominator(10**6)
    if not align_corners:
        return max(1, side * share.numerator // share.denominator)
    doubled, whole = 2 * (side - 1) * share.numerator + share.denominator, 2 * share.denominator
    rounded_up, rest = doubled // whole, doubled % whole
    is_no_half = (rest + whole - 1) // whole  # 0 where nothing is left over, else 1
    return rounded_up - (1 - is_no_half) * (rounded_up % 2) + 1
