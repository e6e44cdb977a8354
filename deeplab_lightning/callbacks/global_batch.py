"""One batch shared by all processes of a training, and batch norm over all of it."""

from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import nn

from deeplab_lightning.modules.batch_norm_guard import training_batch_norms
from deeplab_lightning.modules.trainer_data import datamodule_of

APART = "of each process"
"""The record of batch norms that do not share statistics between processes."""


class GlobalBatch(Callback):
    """Divides `data.batch_size` among the processes of a training, and synchronises their batch norms.

    Batch norms that train share their statistics between CUDA devices. Torch cannot share them on other devices: each
    process then normalises over its own images, and a warning says so. The decision is printed, and kept as `record`
    for `run.json`.

    Args:
        sync_batch_norm: Batch norms share their statistics between CUDA devices.
    """

    def __init__(self, sync_batch_norm: bool = True) -> None:
        self.sync_batch_norm = sync_batch_norm
        self.record: dict[str, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Divide the batch and convert the batch norms, before the strategy wraps the network.

        Raises:
            DataError: The processes cannot share the batch equally.
        """
        if stage != "fit":
            return
        datamodule, processes = datamodule_of(trainer), trainer.world_size
        self.record = {
            "images": datamodule.batch_size,
            "processes": processes,
            "images_per_process": datamodule.batch_per_process(processes),
            "accumulate_grad_batches": trainer.accumulate_grad_batches,
            "batch_norm": self._share_statistics(trainer, pl_module),
        }
        if processes == 1:
            return
        shares = "a batch of {images} images is {images_per_process} on each of {processes} processes"
        shares = shares.format(**self.record)
        if self.record["batch_norm"] != APART:
            rank_zero_info(f"{shares}; batch norm: {self.record['batch_norm']}")
            return
        reason = "only CUDA devices share them" if self.sync_batch_norm else "trainer.sync_batchnorm is off"
        rank_zero_warn(
            f"{shares}, and each process has its own statistics of batch norm, because {reason}: the result will "
            "differ from that of a training on one device"
        )

    def _share_statistics(self, trainer: Trainer, pl_module: LightningModule) -> str:
        if not training_batch_norms(pl_module):
            return "none that trains"
        if trainer.world_size == 1:
            return "of the batch"
        if not self.sync_batch_norm or trainer.strategy.root_device.type != "cuda":
            return APART
        nn.SyncBatchNorm.convert_sync_batchnorm(pl_module)  # type: ignore[no-untyped-call]
        return "of the batch, synchronised"

    def state_dict(self) -> dict[str, Any]:
        """Return the number of images of a batch."""
        return {"images": self.record["images"]} if self.record else {}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Warn if a training resumes with another batch size."""
        if not self.record:
            return
        images, state = self.record["images"], checkpoint["callbacks"].get(self.state_key)
        if state is None and trainer.world_size > 1:
            rank_zero_warn(
                f"data.batch_size {images} is the number of images of all {trainer.world_size} processes together; the "
                "version that wrote the checkpoint took it as that of each process. To resume with the same batch, "
                "multiply it by the number of processes at that time"
            )
        if state is not None and state["images"] != images:
            rank_zero_warn(
                f"the checkpoint's training had batches of {state['images']} images, and resumes with {images}"
            )
