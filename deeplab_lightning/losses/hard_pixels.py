"""Cross entropy of the hard pixels alone (online hard example mining), by share or by threshold."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.losses.cross_entropy import ALONE, LossContext, in_float32, pixel_weights


@dataclass(frozen=True)
class HardestShare:
    """The mean cross entropy of the share of the pixels with the largest one.

    This is the TensorFlow release's hard example mining (top_k_percent_pixels and hard_example_mining_step of
    utils/train_utils.py). The share is one of all pixels, void included; among them are void pixels only if there are
    too few others. Each process chooses among its own pixels. The sum of their losses, times the weights of their
    classes, is divided by their number.

    Args:
        share: Share of the pixels, above 0 and up to 1.
        steps: Number of steps in which the share falls from 1 to `share`; 0 for the share from the beginning on.

    Raises:
        ValueError: A setting is out of its range.
    """

    share: float = 0.25
    steps: float = 0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or self.steps < 0:
            raise ValueError(f"share must be above 0 and up to 1, and steps at least 0, got {self.share}, {self.steps}")

    def share_at(self, step: int) -> float:
        """Return the share at a step of the training."""
        progress = min(1.0, step / self.steps) if self.steps else 1.0
        return progress * self.share + (1 - progress)

    def __call__(self, logits: Tensor, target: Tensor, context: LossContext = ALONE) -> Tensor:
        """Return the loss of logits (B, K, H, W) and a target (B, H, W)."""
        logits = in_float32(logits)
        losses = F.cross_entropy(logits, target, context.class_weights, ignore_index=IGNORE_INDEX, reduction="none")
        hardest = losses.flatten().topk(int(self.share_at(context.step) * losses.numel())).values
        count = context.shared((hardest > 0).sum().to(hardest.dtype))
        return hardest.sum() / count.clamp(min=1e-12)


@dataclass(frozen=True)
class BelowThreshold:
    """The mean cross entropy of the pixels whose own class has a probability below a threshold.

    This is mmsegmentation's OHEMPixelSampler: if fewer than `min_pixels` for each image are below it, the threshold is
    the probability of the pixel of that rank. Each process chooses among its own pixels. The mean is over the chosen
    pixels, while mmsegmentation divides by all pixels, which only scales the loss.

    Args:
        threshold: Probability below which a pixel is hard.
        min_pixels: Smallest number of pixels for each image of the batch.

    Raises:
        ValueError: A setting is out of its range.
    """

    threshold: float = 0.7
    min_pixels: float = 100_000

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1 or self.min_pixels < 1:
            raise ValueError(
                "threshold must be above 0 and up to 1, and min_pixels at least 1, got "
                f"{self.threshold}, {self.min_pixels}"
            )

    def __call__(self, logits: Tensor, target: Tensor, context: LossContext = ALONE) -> Tensor:
        """Return the loss of logits (B, K, H, W) and a target (B, H, W)."""
        logits = in_float32(logits)
        losses = F.cross_entropy(logits, target, context.class_weights, ignore_index=IGNORE_INDEX, reduction="none")
        with torch.no_grad():
            valid = target != IGNORE_INDEX
            probabilities = logits.softmax(1).gather(1, target.where(valid, 0)[:, None])[:, 0]
            ranked = probabilities[valid].sort().values
            rank = min(int(self.min_pixels * len(target)), len(ranked) - 1)
            limit = max(self.threshold, float(ranked[rank])) if len(ranked) else self.threshold
            kept = valid & (probabilities < limit)
        weight = (pixel_weights(target, context.class_weights, logits.dtype) * kept).sum()
        return (losses * kept).sum() / context.shared(weight).clamp(min=1e-12)
