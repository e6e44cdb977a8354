"""Checks at the start of a training: that there will be a validation, and that the monitored score is logged."""

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
"""The number of names that an error lists."""


def validate_at_least_once(trainer: Trainer) -> None:
    """Schedule a validation at the end of a training that would have none, and therefore no best checkpoint."""
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
            f"the first validation would come after {first:g} batches, but the training ends after {total}; the "
            "validation is moved to its end"
        )


def check_monitor(monitor: str, trainer: Trainer, pl_module: LightningModule, logged: Sequence[str]) -> None:
    """Refuse to monitor a score that is never logged.

    Args:
        monitor: Name of the monitored score.
        trainer: The trainer with all callbacks.
        pl_module: The module that trains.
        logged: Further names of scores, which the sanity check has logged.

    Raises:
        ValueError: The score is never logged.
    """
    names = {"train/loss", *logged, *map(str, _validation_names(trainer, pl_module))}
    if monitor not in names and trainer.enable_validation:
        nearest = sorted(names, key=lambda name: (-SequenceMatcher(None, monitor, name).ratio(), name))
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        raise ValueError(
            f"checkpoint.monitor {monitor!r} is not logged; the logged scores with the nearest names are: "
            f"{', '.join(nearest[:SHOWN])}{more}. Scores of your own callbacks are known only after a sanity check "
            f"(trainer.num_sanity_val_steps is {trainer.num_sanity_val_steps})"
        )


def _validation_names(trainer: Trainer, pl_module: LightningModule) -> list[ScoreName]:
    """Return the scores that the module and this project's callbacks log at a validation during training."""
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
