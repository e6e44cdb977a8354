"""Lightning's private names, used here and nowhere else because there are no public ones.

They are those of Lightning 2.6; pyproject.toml excludes newer versions until each name has been checked.
"""

from typing import Any

from lightning import Trainer
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import WandbLogger


class LightningCLIWithGivenSettings(LightningCLI):
    """A LightningCLI in which the settings of the command line take precedence over those of a checkpoint.

    Since version 2.6, Lightning's method below replaces the settings of the command line by the `hyper_parameters` of a
    checkpoint, and there is no switch to prevent it. But a checkpoint may be scored with other settings than those of
    its training.
    """

    def _parse_ckpt_path(self) -> None:
        pass


def forget_train_loader(trainer: Trainer) -> None:
    """Let Lightning build the training's loader again.

    `_combined_loader` holds a loader that Lightning built before it read the checkpoint, only to know its length. The
    public `Trainer.reload_dataloaders_every_n_epochs` would act too late.
    """
    trainer.fit_loop._combined_loader = None


def step_back_to_a_validation(trainer: Trainer) -> None:
    """Correct the count of steps of a training that resumes from a checkpoint just before a validation.

    Lightning returns to the end of the last step and counts it a second time. `_data_fetcher` and
    `_should_check_val_fx` tell whether it will do so. `_batches_that_stepped` is the count, the x axis of all curves.
    """
    loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
    assert fetcher is not None
    if loop.restarting and loop._should_check_val_fx(fetcher):
        loop._batches_that_stepped -= 1


def set_steps(loops: dict[str, Any], steps: int) -> None:
    """Set the count of steps in a checkpoint's state of the loops.

    The count is `_batches_that_stepped`; see `step_back_to_a_validation`.

    Args:
        loops: Entry `loops` of the checkpoint.
        steps: Number of optimizer steps so far.
    """
    loops["fit_loop"]["epoch_loop.state_dict"]["_batches_that_stepped"] = steps


def dump_checkpoint(trainer: Trainer) -> dict[str, Any]:
    """Return the content of a checkpoint without waiting for other ranks.

    `_checkpoint_connector` has no barrier. `Trainer.save_checkpoint` waits for all ranks, of which one may have died.
    """
    checkpoint: dict[str, Any] = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
    return checkpoint


def wandb_arguments(logger: WandbLogger) -> dict[str, Any]:
    """Return the arguments for `wandb.init`, to be changed in place.

    They are in `_wandb_init`. Lightning always passes `anonymous`, about which wandb warns, and has no way to omit it.
    """
    arguments: dict[str, Any] = logger._wandb_init
    return arguments


def logs_model(logger: WandbLogger) -> bool:
    """Return whether the logger keeps checkpoints as artifacts; `_log_model` holds its argument."""
    return bool(logger._log_model)
