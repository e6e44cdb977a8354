"""Lightning's private names: all of them are used here and nowhere else, each for want of a public one.

They are those of Lightning 2.6; pyproject.toml keeps newer versions out until somebody has looked at each.
"""

from typing import Any

from lightning import Trainer
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import WandbLogger


class LightningCLIWithGivenSettings(LightningCLI):
    """LightningCLI in which the settings that were given hold.

    Since 2.6 Lightning puts the settings that a checkpoint has kept (`hyper_parameters`) over those of the command
    line, in the name below, and has no switch for it. A checkpoint may be scored in other ways than it was trained.
    """

    def _parse_ckpt_path(self) -> None:
        pass


def forget_train_loader(trainer: Trainer) -> None:
    """Have the training's loader made anew.

    `_combined_loader`: Lightning keeps a loader that was made before the checkpoint was read, for its length alone.
    There is `Trainer.reload_dataloaders_every_n_epochs`, which acts later.
    """
    trainer.fit_loop._combined_loader = None


def step_back_to_a_validation(trainer: Trainer) -> None:
    """Let a training that goes on from a checkpoint right before a validation not count its last step twice.

    Lightning comes back to the end of that step, and counts it again. `_data_fetcher` and `_should_check_val_fx` say
    whether it does, `_batches_that_stepped` is the count, which is the x axis of all curves.
    """
    loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
    assert fetcher is not None
    if loop.restarting and loop._should_check_val_fx(fetcher):
        loop._batches_that_stepped -= 1


def set_steps(loops: dict[str, Any], steps: int) -> None:
    """Set the count of steps in the state of the loops that a checkpoint keeps.

    `_batches_that_stepped` in it: see `step_back_to_a_validation`.

    Args:
        loops: The item `loops` of the checkpoint.
        steps: The optimizer's steps so far.
    """
    loops["fit_loop"]["epoch_loop.state_dict"]["_batches_that_stepped"] = steps


def dump_checkpoint(trainer: Trainer) -> dict[str, Any]:
    """The content of a checkpoint, without a barrier.

    `_checkpoint_connector`: `Trainer.save_checkpoint` waits for all ranks, of which one may have died.
    """
    checkpoint: dict[str, Any] = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
    return checkpoint


def wandb_arguments(logger: WandbLogger) -> dict[str, Any]:
    """The arguments that `wandb.init` will get, to be changed in place.

    `_wandb_init`: Lightning always passes `anonymous`, about which wandb warns, and takes no other word for it.
    """
    arguments: dict[str, Any] = logger._wandb_init
    return arguments


def logs_model(logger: WandbLogger) -> bool:
    """Whether checkpoints are kept as artifacts; `_log_model` is where the logger keeps its argument."""
    return bool(logger._log_model)
