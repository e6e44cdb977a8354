"""Stopping the training, or skipping the batch, when the loss is not finite."""

import json
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.optim import Optimizer

from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.callbacks.log_folder import log_folder
from deeplab_lightning.modules.ranks import mean_over_ranks


class FiniteLoss(Callback):
    """Stops the training at a loss that is NaN or infinite on any rank, before the weights are updated with it.

    The ids of the batch's images are written to nan_batch_step_<n>_rank_<r>.json in the log folder. A skipped step
    counts as a step, so that the learning rate falls. Otherwise neither this batch nor those accumulated with it have
    any effect: weights, optimizer and running statistics are as before the step.

    Args:
        max_skipped: Number of such batches in a run that are skipped; the next one stops the run.
    """

    def __init__(self, max_skipped: int = 0) -> None:
        if max_skipped < 0:
            raise ValueError(f"max_skipped must be at least 0, got {max_skipped}")
        self.max_skipped = max_skipped
        self._skipped = 0
        self._is_finite = True  # all losses since the last optimizer step
        self._image_ids: list[str] = []
        self._buffers: list[Tensor] = []
        self._kept: list[Tensor] = []  # copies of the buffers from after the last optimizer step

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the log folder."""
        self._folder = log_folder(trainer).path

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Allocate copies of the running statistics if batches may be skipped."""
        self._buffers = list(pl_module.buffers()) if self.max_skipped else []
        self._kept = [buffer.clone() for buffer in self._buffers]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Remember the batch and the running statistics, which the forward pass changes."""
        self._image_ids = batch["image_id"]
        if self._kept and batch_idx % trainer.accumulate_grad_batches == 0:
            self._is_finite = True
            torch._foreach_copy_(self._kept, self._buffers)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Check the loss.

        Raises:
            FloatingPointError: The loss is not finite, and no more batches may be skipped.
        """
        # If the loss of one rank is not finite, the mean is not finite on any rank: all stop or skip at the same step.
        if mean_over_ranks(loss.detach()).isfinite():
            return
        self._is_finite = False
        self._skipped += 1
        path = self._folder / f"nan_batch_step_{trainer.global_step}_rank_{trainer.global_rank}.json"
        write_atomically(path, json.dumps({"loss": str(loss.item()), "image_ids": self._image_ids}, indent=1))
        what = f"the loss of step {trainer.global_step} is not finite; the ids of its images are in {path}"
        if self._skipped > self.max_skipped:
            raise FloatingPointError(
                f"{what}. Lower model.lr, check the data (deeplab data check), or skip such batches with "
                "--finite_loss.max_skipped"
            )
        rank_zero_warn(f"{what}; the step is skipped")

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Remove the gradients if a loss was not finite; an optimizer ignores parameters without gradient."""
        if self._is_finite or getattr(trainer.precision_plugin, "scaler", None) is not None:
            return  # a gradient scaler must see the infinite gradients: it skips the step by itself
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Restore the running statistics from before the forward pass, before a validation or a checkpoint."""
        if not self._is_finite:
            torch._foreach_copy_(self._buffers, self._kept)

    def state_dict(self) -> dict[str, int]:
        """Return the number of batches that were skipped."""
        return {"skipped": self._skipped}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Restore the number of skipped batches."""
        self._skipped = state_dict["skipped"]
