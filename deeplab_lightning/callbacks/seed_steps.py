"""Random numbers in a network that depend only on the seed, the step and the rank."""

from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer

from deeplab_lightning.modules.trainer_data import datamodule_of


class SeedSteps(Callback):
    """Seeds torch before every step from (seed, step, rank), so that a resumed training draws the same numbers.

    The seed is that of the datamodule. The numbers are used by dropout and drop path.
    """

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed the next batch."""
        key = (datamodule_of(trainer).seed, trainer.fit_loop.total_batch_idx, trainer.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
