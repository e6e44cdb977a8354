"""Losses over logits and masks."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_lightning import IGNORE_INDEX


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    mean_over_ranks: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Return the mean cross entropy over the pixels that are not void, computed in at least float32.

    Args:
        logits: Logits (B, K, H, W), upsampled to the target's size (v3, section 4.1) or on the grid of a decimated
            target.
        target: Class indices and 255 for void, (B, H, W).
        class_weights: Weights (K,) of the pixels of each class, which make the mean a weighted one.
        mean_over_ranks: Function that averages a tensor over all processes that share the batch. The loss is divided by
            the mean weight of their pixels, so that the mean of the losses over the processes is the mean over the
            pixels of the whole batch.

    Returns:
        A scalar; 0, with zero gradients, if every pixel is void.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    total = F.cross_entropy(logits, target, class_weights, ignore_index=IGNORE_INDEX, reduction="sum")
    valid = target != IGNORE_INDEX
    if class_weights is None:
        weight = valid.sum().to(logits.dtype)
    else:
        weight = class_weights[target.where(valid, 0)].where(valid, 0.0).sum()
    if mean_over_ranks is not None:
        weight = mean_over_ranks(weight)
    return total / weight.clamp(min=1e-12)


def decimate(target: Tensor, size: Sequence[int], stride: float, offset: int = 0) -> Tensor:
    """Return the label under each position of a feature grid, without interpolation (v1, section 3.1).

    Position i of the grid lies over pixel i * stride + offset. These are Caffe's aligned corners, with 41 positions of
    stride 8 over 321 pixels. A position beyond the border takes the last pixel.

    Args:
        target: Class indices and 255 for void, (B, H, W).
        size: Size (h, w) of the grid.
        stride: Number of pixels between positions; it need not be an integer if the grid is that of a scaled image.
        offset: Pixel under the first position.

    Returns:
        The labels (B, h, w).
    """
    rows, columns = (
        torch.arange(positions, device=target.device).mul(stride).add(offset).round().long().clamp(max=side - 1)
        for positions, side in zip(size, target.shape[1:], strict=True)
    )
    return target[:, rows[:, None], columns]
