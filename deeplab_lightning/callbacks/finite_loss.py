"""Stop, or go past the batch, when the loss is no number."""

import json
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.optim import Optimizer

from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.modules.ranks import mean_over_ranks


class FiniteLoss(Callback):
    """Stop at a loss that is NaN or infinite on any rank, before the weights have it.

    The ids of the batch's images are written to nan_batch_step_<n>_rank_<r>.json in the log folder.

    Args:
        max_skipped: leave out the update of so many such batches in a run; the next one stops it.
    """

    def __init__(self, max_skipped: int = 0) -> None:
        if max_skipped < 0:
            raise ValueError(f"max_skipped must be at least 0, got {max_skipped}")
        self.max_skipped = max_skipped
        self._skipped = 0
        self._is_finite = True
        self._image_ids: list[str] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Ask for the log folder while every rank does: the ranks agree on it by a broadcast."""
        self._folder = Path(trainer.log_dir or trainer.default_root_dir)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Remember the batch."""
        self._image_ids = batch["image_id"]

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Look at the loss.

        Raises:
            FloatingPointError: it is not finite, and no more batches may be skipped.
        """
        self._is_finite = bool(mean_over_ranks(loss.detach()).isfinite())
        if self._is_finite:
            return
        self._skipped += 1
        path = self._folder / f"nan_batch_step_{trainer.global_step}_rank_{trainer.global_rank}.json"
        write_atomically(path, json.dumps({"loss": str(loss.item()), "image_ids": self._image_ids}, indent=1))
        what = f"the loss of step {trainer.global_step} is not finite; the ids of its images are in {path}"
        if self._skipped > self.max_skipped:
            raise FloatingPointError(
                f"{what}. Lower model.lr, check the data (deeplab data check), or leave out such batches with "
                "--finite_loss.max_skipped"
            )
        rank_zero_warn(f"{what}; it is left out")

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Leave the weights as they are where the loss was not finite."""
        if not self._is_finite:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad = None

    def state_dict(self) -> dict[str, int]:
        """How many batches were skipped."""
        return {"skipped": self._skipped}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on counting."""
        self._skipped = state_dict["skipped"]
