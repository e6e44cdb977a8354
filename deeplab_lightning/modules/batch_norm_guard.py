"""Warnings about batch norm on too few images, and about running statistics that cannot settle."""

from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

from deeplab_lightning.models.batch_norm import batch_norms
from deeplab_lightning.modules.trainer_data import find_datamodule

MIN_IMAGES = 12  # the smallest batch that the TensorFlow release's train.py recommends
MAX_START = 0.05  # largest acceptable share of the initial statistics at the end of the training


def warn_of_batch_norm(network: nn.Module, trainer: Trainer, starts_anew: bool) -> None:
    """Give both warnings at the start of a training.

    Args:
        network: The network in training mode.
        trainer: The trainer, with the batch size and the number of steps.
        starts_anew: The training does not start from the weights of another run, whose statistics have settled.
    """
    if starts_anew:
        warn_of_slow_statistics(network, trainer.estimated_stepping_batches * trainer.accumulate_grad_batches)
    data = find_datamodule(trainer)
    if data is not None:
        warn_of_small_batches(network, data.batch_size, trainer.world_size)


def training_batch_norms(network: nn.Module) -> list[nn.Module]:
    """Find the batch norms that are in training mode; frozen ones are not."""
    return [layer for layer in batch_norms(network) if layer.training]


def warn_of_small_batches(network: nn.Module, batch_size: int, world_size: int) -> None:
    """Warn if a batch norm that trains sees fewer than 12 images at a time.

    Args:
        network: The network in training mode; frozen batch norms are in evaluation mode.
        batch_size: Number of images per step over all processes.
        world_size: Number of processes; each normalises over its own images unless batch norm is synchronised.
    """
    training = training_batch_norms(network)
    if not training:
        return
    num_images = batch_size if isinstance(training[0], nn.SyncBatchNorm) else batch_size // world_size
    if num_images < MIN_IMAGES:
        rank_zero_warn(
            f"batch norm trains on {num_images} images at a time; below {MIN_IMAGES} its statistics are too noisy for "
            "the papers' scores (v3, Table 9: 64.43 at 4, 75.76 at 8, 77.21 at 16). Raise data.batch_size, or set "
            "model.freeze_batch_norm with pretrained weights; gradient accumulation does not help"
        )


def warn_of_slow_statistics(network: nn.Module, batches: float) -> None:
    """Warn if a batch norm's running statistics will still depend on their initial values at the end of the training.

    Args:
        network: The network in training mode; frozen batch norms are in evaluation mode.
        batches: Number of batches that each process sees in the whole training.
    """
    momentum = min((layer.momentum or 0.0 for layer in batch_norms(network) if layer.training), default=1.0)
    start = (1 - momentum) ** batches
    if start > MAX_START:
        rank_zero_warn(
            f"after {batches:.0f} batches with batch_norm_momentum {momentum:g}, {start:.0%} of batch norm's running "
            "statistics still come from their initial values, which lowers the scores; raise "
            "model.batch_norm_momentum (0.1 suits short trainings) or train for longer"
        )
