"""The weights of the classes in the loss: as given, or by median frequency in the training split."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from deeplab_lightning.modules.checks import check_lengths
from deeplab_lightning.modules.trainer_data import find_datamodule
from deeplab_lightning.processors import count_processors

if TYPE_CHECKING:
    from deeplab_lightning.modules.base import SegmentationModule

AUTO: Literal["auto"] = "auto"
"""The setting for weights by median frequency."""


def as_tensor(weights: Sequence[float] | Literal["auto"] | None, num_classes: int) -> Tensor | None:
    """Return given weights (K,), NaN for those that are not known before the data are, and None if all are equal.

    Raises:
        ValueError: There is not one weight for each class, one is negative, or none is above 0.
    """
    if not weights:
        return None
    if weights == AUTO:  # a tensor, because EMAWeightAveraging copies the module's buffers before its setup
        return torch.full((num_classes,), torch.nan)
    numbers = [float(weight) for weight in weights]
    check_lengths(num_classes, class_weights=numbers)
    if min(numbers) < 0 or not max(numbers) > 0:
        raise ValueError(f"class_weights must be at least 0, and one of them above 0, got {numbers}")
    return torch.tensor(numbers)


def resolve_class_weights(module: "SegmentationModule", stage: str) -> None:
    """Count the classes of the training split and set the weights, if they are automatic and a training begins.

    Rank zero counts; the other ranks, and later trainings on the same masks, read its counts from the cache. Images
    that `BootstrapHardImages` repeats count once.

    Raises:
        ValueError: The training has no datamodule.
    """
    if not module.weighs_by_frequency or stage != "fit":
        return
    trainer = module.trainer
    data = find_datamodule(trainer)
    if data is None:
        raise ValueError("class_weights 'auto' are computed from a datamodule, but the training has none; give numbers")
    if trainer.is_global_zero:
        data.class_weights(count_processors())
    trainer.strategy.barrier("class_weights")
    set_class_weights(module, data.class_weights(0))
    shown = (
        f"{name} {weight:.3f}" for name, weight in zip(module.class_names, module.hparams["class_weights"], strict=True)
    )
    rank_zero_info(f"class weights by median frequency: {', '.join(shown)}")


def set_class_weights(module: "SegmentationModule", weights: Sequence[float]) -> None:
    """Set computed weights, and make them hyperparameters, which loggers and checkpoints record."""
    assert module.class_weights is not None
    module.class_weights.copy_(torch.tensor(weights))
    module.save_hyperparameters({"class_weights": list(weights)})
