"""Losses over logits and masks."""

import torch.nn.functional as F
from torch import Tensor

from deeplab_lightning import IGNORE_INDEX


def cross_entropy(logits: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Mean cross entropy over the pixels that are not void, in float32 whatever the logits' precision.

    Args:
        logits: (B, K, H, W), upsampled to the target's size (v3, section 4.1: labels are never downsampled).
        target: (B, H, W), class indices and 255.
        class_weights: (K,), the weight of each class's pixels; the mean is then a weighted one.

    Returns:
        A scalar; 0, with zero gradients, when every pixel is void.
    """
    total = F.cross_entropy(logits.float(), target, class_weights, ignore_index=IGNORE_INDEX, reduction="sum")
    valid = target != IGNORE_INDEX
    if class_weights is None:
        return total / valid.sum().clamp(min=1)
    weight = class_weights[target.where(valid, 0)].where(valid, 0.0).sum()
    return total / weight.clamp(min=1e-12)
