"""DeepLab v2 under Lightning."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from deeplab_lightning.losses import cross_entropy, decimate
from deeplab_lightning.models.deeplab_v2 import DeepLabV2
from deeplab_lightning.models.layers import upsample
from deeplab_lightning.models.resnet import StrideUnit
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.ranks import mean_over_ranks


class DeepLabV2Module(SegmentationModule):
    """DeepLab v2 (arXiv:1606.00915) on VGG-16 or a ResNet.

    Args:
        num_classes: K, background included; from the command line it follows from the data.
        backbone: "vgg16", "resnet50" or "resnet101".
        atrous_rates: of the branches, as used: (6, 12, 18, 24) is ASPP-L, (2, 4, 8, 12) ASPP-S, (12,) LargeFOV.
        classifier_kernel_size: Side of the kernels of a ResNet's classifiers: 3, or 1 as in Table 4 before LargeFOV.
        stride_unit: Unit of a ResNet block that strides: "first_1x1" for weights that came from Caffe, "first" for
            torchvision's.
        input_scales: the shared network sees the image at each, in training too; logits are fused by the maximum, and
            each scale has its own loss beside the fused one's ("MSC").
        pretrained: load ImageNet weights into the backbone, and thinned out into every fc6 and fc7.
        align_corners: grid of every bilinear resize: True is Caffe's.
        kwargs: see `SegmentationModule`.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: str = "resnet101",
        atrous_rates: Sequence[int] = (6, 12, 18, 24),
        classifier_kernel_size: int = 3,
        stride_unit: StrideUnit = "first_1x1",
        input_scales: Sequence[float] = (1.0,),
        pretrained: bool = False,
        align_corners: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, **kwargs)
        network = DeepLabV2(
            num_classes,
            backbone=backbone,
            atrous_rates=atrous_rates,
            classifier_kernel_size=classifier_kernel_size,
            stride_unit=stride_unit,
            input_scales=input_scales,
            pretrained=pretrained,
            align_corners=align_corners,
        )
        self.set_network(network)

    def training_loss(self, images: Tensor, target: Tensor) -> Tensor:
        """The sum of the cross entropies of each input scale and, with several, of their fusion (section 3.2)."""
        network = cast(DeepLabV2, self.network)
        logits = network.forward_scales(images)
        strides = [network.logits_stride / scale for scale in network.input_scales]
        if len(logits) > 1:
            logits.append(network.fuse(logits))
            strides.append(float(network.logits_stride))
        return torch.stack([self._term(*pair, target) for pair in zip(logits, strides, strict=True)]).sum()

    def _term(self, logits: Tensor, stride: float, target: Tensor) -> Tensor:
        if self.upsample_logits:
            logits = upsample(logits, target.shape[1:], self.network.align_corners)
        else:
            target = decimate(target, logits.shape[2:], stride)
        return cross_entropy(logits, target, self.class_weights, mean_over_ranks)
