"""Random numbers of a network that depend on the step alone."""

from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer


class SeedSteps(Callback):
    """Seed torch before every step from (seed, step, rank): a resumed training draws what it would have drawn.

    The seed is the datamodule's; it is dropout and drop path that draw.
    """

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed the batch that comes."""
        seed: int = trainer.datamodule.seed  # type: ignore[attr-defined]
        key = (seed, trainer.fit_loop.total_batch_idx, trainer.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
