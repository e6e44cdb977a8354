"""Checks before a training begins: that it will be validated, and that the score that decides on the best is logged."""

from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from math import ceil, isinf

from lightning import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from deeplab_lightning.callbacks.crf_evaluation import CRFEvaluation
from deeplab_lightning.callbacks.trimap_evaluation import TrimapEvaluation
from deeplab_lightning.metrics import SegmentationScores
from deeplab_lightning.scores import ScoreName

SHOWN = 8
"""Number of names that an error lists."""


def validate_at_least_once(trainer: Trainer) -> None:
    """Validate a training that would end before its first validation at its end: else it has no best checkpoint."""
    steps, per_epoch, first = trainer.estimated_stepping_batches, trainer.num_training_batches, trainer.val_check_batch
    if not trainer.enable_validation or first is None or isinf(steps) or isinf(per_epoch):
        return
    accumulated = trainer.accumulate_grad_batches
    epochs, rest = divmod(int(steps), ceil(per_epoch / accumulated))
    total = epochs * int(per_epoch) + rest * accumulated
    if trainer.check_val_every_n_epoch is not None:
        first += (trainer.check_val_every_n_epoch - 1) * per_epoch
    if first > total:
        trainer.check_val_every_n_epoch, trainer.val_check_interval, trainer.val_check_batch = None, total, total
        rank_zero_info(
            f"the first validation would come after {first:g} batches, but the training ends after {total}: it is "
            "validated then"
        )


def check_monitor(monitor: str, trainer: Trainer, pl_module: LightningModule, logged: Sequence[str]) -> None:
    """Refuse the name of a score that nothing logs.

    Args:
        monitor: The name.
        trainer: The trainer with all callbacks.
        pl_module: The module that trains.
        logged: Further names, which the sanity check has logged.

    Raises:
        ValueError: Nothing logs it.
    """
    names = {"train/loss", *logged, *map(str, _validation_names(trainer, pl_module))}
    if monitor not in names and trainer.enable_validation:
        nearest = sorted(names, key=lambda name: (-SequenceMatcher(None, monitor, name).ratio(), name))
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        raise ValueError(
            f"checkpoint.monitor {monitor!r} is not logged; what is, the nearest first: "
            f"{', '.join(nearest[:SHOWN])}{more}. What a callback of your own logs is known from the sanity check "
            f"(trainer.num_sanity_val_steps is {trainer.num_sanity_val_steps})"
        )


def _validation_names(trainer: Trainer, pl_module: LightningModule) -> list[ScoreName]:
    """The scores that the module and the callbacks of this project log at a validation of a training."""
    scores = pl_module.scores
    assert isinstance(scores, SegmentationScores)
    acting = [callback for callback in trainer.callbacks if getattr(callback, "during_fit", False)]  # type: ignore[attr-defined]
    names = [*scores.names("val"), ScoreName("val", "seconds_per_image")]
    for callback in acting:
        if isinstance(callback, TrimapEvaluation):
            names += callback.names("val")
    if any(isinstance(callback, CRFEvaluation) for callback in acting):
        names += [replace(name, refined=True) for name in [*names, ScoreName("val", "miou_gain")]]
    return [*names, ScoreName("val", "loss")]
