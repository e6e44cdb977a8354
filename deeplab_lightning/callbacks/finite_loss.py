"""Stop, or go past the batch, when the loss is no number."""

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
    """Stop at a loss that is NaN or infinite on any rank, before the weights have it.

    The ids of the batch's images are written to nan_batch_step_<n>_rank_<r>.json in the log folder. A step that is left
    out counts, so the learning rate falls; but for that it leaves nothing behind, neither of this batch nor of those
    that are accumulated with it: weights, optimizer and running statistics are as before it.

    Args:
        max_skipped: Number of such batches in a run whose updates are left out; the next such batch stops it.
    """

    def __init__(self, max_skipped: int = 0) -> None:
        if max_skipped < 0:
            raise ValueError(f"max_skipped must be at least 0, got {max_skipped}")
        self.max_skipped = max_skipped
        self._skipped = 0
        self._is_finite = True  # of all losses since the last optimizer step
        self._image_ids: list[str] = []
        self._buffers: list[Tensor] = []
        self._kept: list[Tensor] = []  # copies of the buffers as they were after the last optimizer step

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Ask for the log folder."""
        self._folder = log_folder(trainer).path

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make room for the running statistics, where batches may be left out."""
        self._buffers = list(pl_module.buffers()) if self.max_skipped else []
        self._kept = [buffer.clone() for buffer in self._buffers]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Remember the batch, and the running statistics, which the forward pass changes."""
        self._image_ids = batch["image_id"]
        if self._kept and batch_idx % trainer.accumulate_grad_batches == 0:
            self._is_finite = True
            torch._foreach_copy_(self._kept, self._buffers)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Look at the loss.

        Raises:
            FloatingPointError: It is not finite, and no more batches may be skipped.
        """
        # The mean is NaN or infinite on every rank where the loss of one is: all stop, or skip, the same step.
        if mean_over_ranks(loss.detach()).isfinite():
            return
        self._is_finite = False
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
        """Leave the weights as they are where a loss was not finite: an optimizer passes over what has no gradient."""
        if self._is_finite or getattr(trainer.precision_plugin, "scaler", None) is not None:
            return  # a scaler of gradients leaves out the step itself, and must see why
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Take back the running statistics from before the forward pass, before anything is validated or saved."""
        if not self._is_finite:
            torch._foreach_copy_(self._buffers, self._kept)

    def state_dict(self) -> dict[str, int]:
        """The number of batches that were skipped."""
        return {"skipped": self._skipped}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on counting."""
        self._skipped = state_dict["skipped"]
