"""Losses of the overlap of each class's region: Dice and its generalisation by Tversky, and Lovasz-softmax."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.losses.cross_entropy import ALONE, LossContext, in_float32

SMALLEST = 1e-7  # of a denominator, as in segmentation-models-pytorch


@dataclass(frozen=True)
class Tversky:
    """1 minus the Tversky index TP / (TP + alpha FP + beta FN) of each class over the whole batch, averaged.

    Salehi et al., arXiv:1706.05721. Counts are soft: TP is the sum of the class's probabilities over its own pixels.
    Classes that the batch does not hold count with 0, as in segmentation-models-pytorch.

    Args:
        alpha: Weight of false positives; 0.5 with beta 0.5 is Dice, 1 with beta 1 Jaccard.
        beta: Weight of false negatives.

    Raises:
        ValueError: A weight is negative.
    """

    alpha: float = 0.5
    beta: float = 0.5

    def __post_init__(self) -> None:
        if min(self.alpha, self.beta) < 0:
            raise ValueError(f"alpha and beta must not be negative, got {self.alpha} and {self.beta}")

    def __call__(self, logits: Tensor, target: Tensor, context: LossContext = ALONE) -> Tensor:
        """Return the loss of logits (B, K, H, W) and a target (B, H, W)."""
        probabilities, truth = _probabilities_and_truth(logits, target)
        own, predicted, labelled = (
            _shared_with_gradient(each.sum((0, 2)), context) for each in (probabilities * truth, probabilities, truth)
        )
        denominator = own + self.alpha * (predicted - own) + self.beta * (labelled - own)
        losses = (1 - own / denominator.clamp(min=SMALLEST)) * (labelled > 0)
        return losses.mean()


@dataclass(frozen=True)
class Dice:
    """1 minus the Dice coefficient 2 TP / (2 TP + FP + FN) of each class over the whole batch, averaged.

    Milletari et al., arXiv:1606.04797, with the sums of probabilities that segmentation-models-pytorch has. Classes
    that the batch does not hold count with 0.
    """

    def __call__(self, logits: Tensor, target: Tensor, context: LossContext = ALONE) -> Tensor:
        """Return the loss of logits (B, K, H, W) and a target (B, H, W)."""
        return Tversky(0.5, 0.5)(logits, target, context)


@dataclass(frozen=True)
class LovaszSoftmax:
    """The Lovasz extension of the Jaccard loss (Berman et al., arXiv:1705.08790) of each image, averaged over images.

    An image's loss is the mean over the classes that it holds; one without a labelled pixel has 0. Each image stands by
    itself, so that the loss does not depend on how processes share a batch.
    """

    def __call__(self, logits: Tensor, target: Tensor, context: LossContext = ALONE) -> Tensor:
        """Return the loss of logits (B, K, H, W) and a target (B, H, W)."""
        probabilities = in_float32(logits).softmax(1)
        return torch.stack([_lovasz(own, labels) for own, labels in zip(probabilities, target, strict=True)]).mean()


def _lovasz(probabilities: Tensor, target: Tensor) -> Tensor:
    """Return the loss of one image, from probabilities (K, H, W) and a target (H, W)."""
    valid = target != IGNORE_INDEX
    own, labels = probabilities[:, valid], target[valid]
    held = torch.bincount(labels, minlength=len(own)).nonzero()[:, 0].tolist()
    losses = [_lovasz_of_class(own[index], labels == index) for index in held]
    return torch.stack(losses).mean() if losses else probabilities.sum() * 0


def _lovasz_of_class(probabilities: Tensor, truth: Tensor) -> Tensor:
    errors, order = (truth.to(probabilities.dtype) - probabilities).abs().sort(descending=True)
    sorted_truth = truth[order].to(probabilities.dtype)
    intersection = sorted_truth.sum() - sorted_truth.cumsum(0)
    union = sorted_truth.sum() + (1 - sorted_truth).cumsum(0)
    jaccard = 1 - intersection / union
    return errors @ torch.cat([jaccard[:1], jaccard.diff()])


def _probabilities_and_truth(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the probabilities and the labels in one-hot form, (B, K, H * W) each, with zeros for void."""
    probabilities = in_float32(logits).softmax(1).flatten(2)
    valid = (target != IGNORE_INDEX).flatten(1)
    labels = target.flatten(1).where(valid, 0)
    truth = F.one_hot(labels, logits.shape[1]).transpose(1, 2).to(probabilities.dtype)
    return probabilities * valid[:, None], truth * valid[:, None]


def _shared_with_gradient(value: Tensor, context: LossContext) -> Tensor:
    """Return a value averaged over all processes, with the gradient of this process's own part.

    The processes' gradients are averaged afterwards. A loss that depends on ratios alone then has the gradient that it
    would have in one process with the whole batch.
    """
    return context.shared(value.detach()) + value - value.detach()
