"""The loss of a training: a sum of losses with weights, as settings name them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.losses.cross_entropy import ALONE, CrossEntropy, LossContext, PixelMean, pixel_weights
from deeplab_lightning.losses.hard_pixels import BelowThreshold, HardestShare
from deeplab_lightning.losses.regions import Dice, LovaszSoftmax, Tversky
from deeplab_lightning.usage import did_you_mean


class Loss(Protocol):
    """A function from logits (B, K, H, W) and a target (B, H, W) to a scalar; void pixels do not count."""

    def __call__(self, logits: Tensor, target: Tensor, context: LossContext = ALONE) -> Tensor:
        """Return the loss. The mean over the processes is the loss of the whole batch.

        Args:
            logits: Logits (B, K, H, W).
            target: Class indices and 255 for void, (B, H, W).
            context: Class weights, processes and step of the training.
        """


@dataclass(frozen=True)
class Focal(PixelMean):
    """The mean over the pixels of (1 - p) ** gamma times the cross entropy, where p is the probability of the label.

    This is the focal loss (Lin et al., arXiv:1708.02002) on the softmax over all classes. The "focal losses" of
    mmsegmentation and segmentation-models-pytorch are others: means over classes of binary ones.

    Args:
        gamma: Exponent; with 0 it is the cross entropy.

    Raises:
        ValueError: The exponent is negative.
    """

    gamma: float = 2.0

    def __post_init__(self) -> None:
        if self.gamma < 0:
            raise ValueError(f"gamma must not be negative, got {self.gamma}")

    def total(self, logits: Tensor, target: Tensor, class_weights: Tensor | None) -> Tensor:
        """Return the sum over the pixels of logits (B, K, H, W) in at least float32 and a target (B, H, W)."""
        losses = F.cross_entropy(logits, target, ignore_index=IGNORE_INDEX, reduction="none")
        weights = pixel_weights(target, class_weights, losses.dtype)
        # expm1 keeps the digits of 1 - p for p near 1.
        return (weights * (-(-losses).expm1()).clamp(min=0) ** self.gamma * losses).sum()


LOSSES: dict[str, type] = {
    "cross_entropy": CrossEntropy,
    "hardest_share": HardestShare,
    "below_threshold": BelowThreshold,
    "focal": Focal,
    "dice": Dice,
    "tversky": Tversky,
    "lovasz_softmax": LovaszSoftmax,
}
OF_PIXELS = {"cross_entropy", "hardest_share", "below_threshold", "focal"}
"""Losses of single pixels, on which class weights act."""
WEIGHT = "weight"
OverPart = Callable[[Tensor, Tensor], Tensor]
"""A function from a part of the logits, in at least float32, and of the target to that part's summand of the loss."""
LossSettings = Mapping[str, float | Mapping[str, float]]


class WeightedSum:
    """A sum of losses with weights.

    Args:
        settings: Weight of each loss by its name in `LOSSES`, or its weight and its own settings; the cross entropy
            alone if not given.
        class_weights: Weights of the classes, or the name of a rule for them, if they are not equal.

    Raises:
        ValueError: A loss or a setting of it does not exist or is out of range, a weight is not positive, or class
            weights have no effect.
    """

    def __init__(
        self, settings: LossSettings | None = None, class_weights: Sequence[float] | str | None = None
    ) -> None:
        self.losses: list[tuple[float, Loss]] = []
        for name, given in (settings or {"cross_entropy": 1.0}).items():
            if name not in LOSSES:
                raise ValueError(f"there is no loss {name!r}{did_you_mean(name, LOSSES)}, out of {', '.join(LOSSES)}")
            own = dict(given) if isinstance(given, Mapping) else {WEIGHT: given}
            weight = own.pop(WEIGHT, 1.0)
            if not 0 < weight < float("inf"):
                raise ValueError(f"the weight of the loss {name} must be a positive number, got {weight}")
            known = [each.name for each in fields(LOSSES[name])]
            if unknown := [key for key in own if key not in known]:
                raise ValueError(_unknown(name, unknown[0], known))
            self.losses.append((weight, LOSSES[name](**own)))
        if class_weights and settings and not OF_PIXELS & set(settings):
            raise ValueError(f"class_weights have no effect on {', '.join(settings)}; they weigh pixels")

    def __call__(self, logits: Tensor, target: Tensor, context: LossContext = ALONE) -> Tensor:
        """Return the sum of the losses of logits (B, K, H, W) and a target (B, H, W)."""
        terms = [weight * loss(logits, target, context) for weight, loss in self.losses]
        return sum(terms[1:], terms[0])

    def over_parts(self, target: Tensor, dtype: torch.dtype, context: LossContext = ALONE) -> OverPart | None:
        """Return the loss as a function of parts of the pixels, whose values add up to the loss of them all.

        Args:
            target: Class indices and 255 for void of all pixels, (B, H, W).
            dtype: Type of the loss, at least float32.
            context: Class weights, processes and step of the training.

        Returns:
            The function; None if a loss needs all pixels at once, like those of hard pixels and of regions.
        """
        means = [(weight, loss) for weight, loss in self.losses if isinstance(loss, PixelMean)]
        if len(means) < len(self.losses):
            return None
        scaled = [(weight / loss.divisor(target, dtype, context), loss) for weight, loss in means]

        def over_part(logits: Tensor, target: Tensor) -> Tensor:
            terms = [factor * loss.total(logits, target, context.class_weights) for factor, loss in scaled]
            return sum(terms[1:], terms[0])

        return over_part


def _unknown(name: str, key: str, known: Sequence[str]) -> str:
    return f"the loss {name} has no setting {key!r}{did_you_mean(key, known)}; it takes {', '.join([WEIGHT, *known])}"
