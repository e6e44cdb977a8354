"""Random numbers in a network that depend only on the seed, the step and the image or the process."""

from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer

from deeplab_lightning.modules.dropout_seeds import seed_dropout
from deeplab_lightning.modules.trainer_data import datamodule_of


class SeedSteps(Callback):
    """Seeds every step from the datamodule's seed and the step, so that a resumed training draws the same numbers.

    The networks' dropout is seeded for each image by its place in the batch of all processes, so that any number of
    processes draws the same masks. Other draws, such as the drop path of timm's encoders, are seeded by the rank.
    """

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed the next batch."""
        key = (datamodule_of(trainer).seed, trainer.fit_loop.total_batch_idx)
        torch.manual_seed(int(np.random.SeedSequence((*key, trainer.global_rank)).generate_state(1)[0]))
        images = len(batch["image"])
        places = range(trainer.global_rank, images * trainer.world_size, trainer.world_size)  # dealt out in turn
        seed_dropout(pl_module, key, places)
