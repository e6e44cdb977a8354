"""Two checkpoints a run: the best by validation mIoU, and the last."""

from pathlib import Path

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from lightning.pytorch.utilities.exceptions import SIGTERMException


class Checkpoint(ModelCheckpoint):
    """Keep `best.ckpt` and `last.ckpt`; an interrupted training saves `last.ckpt` before it ends.

    Args:
        dirpath: where they are kept; from the command line `trainer.default_root_dir`.
        monitor: the score that decides which is best.
        mode: "max" when more is better.
    """

    def __init__(self, dirpath: str, monitor: str = "val/miou", mode: str = "max") -> None:
        super().__init__(
            dirpath=dirpath,
            filename="best",
            monitor=monitor,
            mode=mode,
            save_last=True,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say so when this run will replace the checkpoints of another."""
        if trainer.ckpt_path is None and self._last.exists():
            rank_zero_warn(
                f"{self._last} of an earlier run will be replaced; --ckpt_path last would have gone on with it"
            )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the last checkpoint hold the last step, also when no validation falls on it."""
        if self._last_global_step_saved != trainer.global_step:
            trainer.save_checkpoint(self._last)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save the last checkpoint when the training is interrupted by Ctrl-C or SIGTERM.

        There is no barrier here, unlike in `trainer.save_checkpoint`: other ranks may never come to it.
        """
        interrupted = isinstance(exception, KeyboardInterrupt | SIGTERMException)
        if interrupted and trainer.state.fn == "fit" and trainer.global_step > 0:
            trainer.strategy.save_checkpoint(trainer._checkpoint_connector.dump_checkpoint(), self._last)
            rank_zero_info(f"interrupted at step {trainer.global_step}; saved {self._last}: --ckpt_path last goes on")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what there is now."""
        if self.best_model_path:
            rank_zero_info(f"best: {self.best_model_path} ({self.monitor} {self.best_model_score:.4f})")
        rank_zero_info(f"last: {self._last} (step {trainer.global_step})")

    @property
    def _last(self) -> Path:
        return Path(str(self.dirpath)) / "last.ckpt"
