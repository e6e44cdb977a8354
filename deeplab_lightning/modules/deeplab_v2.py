"""DeepLab v2 under Lightning."""

from typing import Any

import torch
from torch import Tensor

from deeplab_lightning.losses.decimation import decimate
from deeplab_lightning.models.deeplab_v2 import DeepLabV2
from deeplab_lightning.modules.base import SegmentationModule


class DeepLabV2Module(SegmentationModule):
    """DeepLab v2 (arXiv:1606.00915) on VGG-16 or a ResNet; each input scale has its own loss (section 3.2)."""

    network: DeepLabV2

    def configure_network(self, num_classes: int, **kwargs: Any) -> DeepLabV2:
        """Build the network from its own arguments."""
        return DeepLabV2(num_classes, **kwargs)

    def training_loss(self, images: Tensor, target: Tensor) -> Tensor:
        """Sum the losses of each input scale and, with several, of their fusion (section 3.2)."""
        logits = self.network.forward_scales(images)
        strides = [self.network.logits_stride / scale for scale in self.network.input_scales]
        if len(logits) > 1:
            logits.append(self.network.fuse(logits))
            strides.append(float(self.network.logits_stride))
        losses = [self._loss_at(stride, each, target) for each, stride in zip(logits, strides, strict=True)]
        return torch.stack(losses).sum()

    def _loss_at(self, stride: float, logits: Tensor, target: Tensor) -> Tensor:
        if self.upsample_logits:
            return self.upsampled_loss(logits, target)
        return self.loss(logits, decimate(target, logits.shape[2:], stride), self.loss_context())
