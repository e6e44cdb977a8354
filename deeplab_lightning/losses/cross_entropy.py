"""The mean cross entropy of a batch, over the pixels of all processes."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_lightning import IGNORE_INDEX

MeanOverRanks = Callable[[Tensor], Tensor]
"""A function that averages a tensor over all processes that share the batch, without gradient."""


@dataclass(frozen=True)
class LossContext:
    """What a loss takes into account besides logits and target.

    Args:
        class_weights: Weights (K,) of the pixels of each class; None for equal ones.
        mean_over_ranks: Function that averages a tensor over all processes that share the batch; None for one process.
        step: Step of the training.
    """

    class_weights: Tensor | None = None
    mean_over_ranks: MeanOverRanks | None = None
    step: int = 0

    def shared(self, value: Tensor) -> Tensor:
        """Return a value averaged over all processes; a single process gets it back."""
        return value if self.mean_over_ranks is None else self.mean_over_ranks(value)


ALONE = LossContext()


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    mean_over_ranks: MeanOverRanks | None = None,
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
    return CrossEntropy()(logits, target, LossContext(class_weights, mean_over_ranks))


class PixelMean:
    """A loss that is a sum over the pixels divided by their weight, so that it can be computed part by part."""

    def total(self, logits: Tensor, target: Tensor, class_weights: Tensor | None) -> Tensor:
        """Return the sum over the pixels of logits (B, K, H, W) in at least float32 and a target (B, H, W)."""
        raise NotImplementedError

    def divisor(self, target: Tensor, dtype: torch.dtype, context: LossContext) -> Tensor:
        """Return the weight of the pixels of a target (B, H, W), averaged over all processes; above 0."""
        if context.class_weights is None:
            weight = (target != IGNORE_INDEX).sum().to(dtype)
        else:
            weight = pixel_weights(target, context.class_weights, dtype).sum()
        return context.shared(weight).clamp(min=1e-12)

    def __call__(self, logits: Tensor, target: Tensor, context: LossContext = ALONE) -> Tensor:
        """Return the loss of logits (B, K, H, W) and a target (B, H, W)."""
        logits = in_float32(logits)
        total = self.total(logits, target, context.class_weights)
        return total / self.divisor(target, logits.dtype, context)


@dataclass(frozen=True)
class CrossEntropy(PixelMean):
    """The mean cross entropy over the pixels."""

    def total(self, logits: Tensor, target: Tensor, class_weights: Tensor | None) -> Tensor:
        """Return the sum over the pixels of logits (B, K, H, W) in at least float32 and a target (B, H, W)."""
        if torch.are_deterministic_algorithms_enabled():  # torch refuses its own sum on GPUs then: its order varies
            return F.cross_entropy(logits, target, class_weights, ignore_index=IGNORE_INDEX, reduction="none").sum()
        return F.cross_entropy(logits, target, class_weights, ignore_index=IGNORE_INDEX, reduction="sum")


def in_float32(logits: Tensor) -> Tensor:
    """Return logits in at least float32."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def pixel_weights(target: Tensor, class_weights: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Return the weight of each pixel (B, H, W): that of its class, 1 without class weights, and 0 for void."""
    valid = target != IGNORE_INDEX
    if class_weights is None:
        return valid.to(dtype)
    return class_weights[target.where(valid, 0)].to(dtype).where(valid, 0.0)
