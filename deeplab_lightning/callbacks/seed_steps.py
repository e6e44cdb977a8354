"""Random numbers in a network that depend only on the seed, the step and the rank."""

from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer

from deeplab_lightning.modules.trainer_data import datamodule_of


class SeedSteps(Callback):
    """Seeds torch before every step from (seed, step, rank), so that a resumed training draws the same numbers.

    The seed is that of the datamodule. The numbers are used by dropout and drop path. They belong to the process and
    not to the image: on another number of processes an image meets another mask, of the same distribution. A mask that
    depends on the position in the batch of all processes would need other layers in place of torch's, also within the
    encoders of smp and timm, whose drop path draws in code of their own.
    """

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed the next batch."""
        key = (datamodule_of(trainer).seed, trainer.fit_loop.total_batch_idx, trainer.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
