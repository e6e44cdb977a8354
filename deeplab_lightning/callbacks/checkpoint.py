"""Two checkpoints per run: the best by validation mIoU, and the last, from which a killed training resumes exactly."""

import signal
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_info

from deeplab_lightning.callbacks.validation_plan import check_monitor, validate_at_least_once
from deeplab_lightning.checkpoint_file import not_finite
from deeplab_lightning.folder_lock import LostFolderError
from deeplab_lightning.lightning_internals import (
    dump_checkpoint,
    forget_train_loader,
    set_steps,
    step_back_to_a_validation,
)
from deeplab_lightning.run_folder import RunFolder

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""The signals on which the training saves `last.ckpt` and exits with status 128 plus their number: 130, 143, 138."""


class Checkpoint(ModelCheckpoint):
    """Keeps `best.ckpt` and `last.ckpt`; on Ctrl-C, SIGTERM and SIGUSR1 it saves `last.ckpt` and ends the training.

    `last.ckpt` is written between two steps: after a validation, when it is due by steps or by time, on a signal (the
    exit status is then 130 for Ctrl-C, 143 for SIGTERM, 138 for SIGUSR1) and at the end. A second Ctrl-C ends the
    training at once. The `last.ckpt` before stays as `previous.ckpt` until the training has finished. If weights or
    running statistics are not finite, the training ends before they are scored or saved.

    Args:
        dirpath: Folder of the checkpoints; on the command line it is `trainer.default_root_dir`. It may be moved,
            copied or renamed between two trainings.
        monitor: Score that decides which checkpoint is best.
        mode: Direction of the score: "max" if a higher one is better, "min" if a lower one is.
        every_n_steps: Number of steps after which last.ckpt is saved in addition; null for never.
        every_n_minutes: Number of minutes after which last.ckpt is saved in addition; null for never.
    """

    def __init__(
        self,
        dirpath: str,
        monitor: str = "val/miou",
        mode: Literal["max", "min"] = "max",
        every_n_steps: int | None = None,
        every_n_minutes: float | None = 15.0,
    ) -> None:
        if (every_n_steps is not None and every_n_steps < 1) or (every_n_minutes is not None and every_n_minutes <= 0):
            raise ValueError(
                f"every_n_steps and every_n_minutes must be above 0, got {every_n_steps}, {every_n_minutes}"
            )
        super().__init__(
            dirpath=dirpath,
            filename=RunFolder(Path(dirpath)).best.stem,
            monitor=monitor,
            mode=mode,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )
        self.every_n_steps, self.every_n_minutes = every_n_steps, every_n_minutes
        self._started = False
        self._signal = 0
        self._validated = False
        self._saved_step = 0
        self._saved_time = 0.0
        self._logged: list[str] = []  # names of scores that the sanity check has logged

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Build the training's loader again if the training resumes."""
        if trainer.ckpt_path is not None:  # the first one was built before the checkpoint told where to continue
            forget_train_loader(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the monitored score, handle signals from now on, and correct the count of steps after a resume."""
        check_monitor(str(self.monitor), trainer, pl_module, self._logged)
        validate_at_least_once(trainer)
        self._started, self._signal, self._validated = True, 0, False
        self._saved_step, self._saved_time = trainer.global_step, time.monotonic()
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        step_back_to_a_validation(trainer)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # A signal may arrive within a step, when weights and optimizer do not fit together. It is only noted here; the
        # training acts on it before the next step. A scheduler and a launcher may both send SIGTERM; only a second
        # Ctrl-C is an impatient person's.
        if self._signal == number == signal.SIGINT:
            raise SystemExit(128 + number)
        self._signal = self._signal or number

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Save between two steps if it is due on any rank, and end the training if a signal has arrived."""
        if batch_idx % trainer.accumulate_grad_batches:
            return
        # Saving waits for all ranks, but a signal may reach only one of them, and their clocks differ. So the ranks
        # first agree on one number: 0 for nothing, 1 to save, and from 2 on the signal that ends the training.
        asked = self._max_over_ranks(trainer, max(self._signal, int(self._is_due(trainer))))
        if asked and trainer.global_step != self._saved_step:  # a signal may come before the first new step
            self._save(trainer, pl_module)
        if asked > 1:
            self._exit(trainer, asked)

    def _is_due(self, trainer: Trainer) -> bool:
        if trainer.global_step == self._saved_step or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return False
        by_steps = self.every_n_steps is not None and trainer.global_step % self.every_n_steps == 0
        minutes = (time.monotonic() - self._saved_time) / 60
        return self._validated or by_steps or (self.every_n_minutes is not None and minutes >= self.every_n_minutes)

    def _max_over_ranks(self, trainer: Trainer, value: int) -> int:
        if trainer.world_size == 1:
            return value
        return int(trainer.strategy.reduce(torch.tensor(value, device=trainer.strategy.root_device), reduce_op="max"))

    def _save(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check_finite(trainer, pl_module)
        for logger in trainer.loggers:
            logger.save()
        trainer.save_checkpoint(self._run.last, weights_only=False)
        self._saved_step, self._saved_time, self._validated = trainer.global_step, time.monotonic(), False

    def _exit(self, trainer: Trainer, number: int) -> None:
        name = signal.Signals(number).name
        saved = f"saved {self._run.last}; " if self._run.last.is_file() else ""
        rank_zero_info(f"{name} at step {trainer.global_step}; {saved}--ckpt_path last resumes")
        raise SystemExit(128 + number)

    def _check_finite(self, trainer: Trainer, pl_module: LightningModule) -> None:
        wrong = not_finite(pl_module.state_dict())
        if self._max_over_ranks(trainer, len(wrong)):
            kept = f"; {self._run.last} of step {self._saved_step} is kept" if self._saved_step else ""
            raise FloatingPointError(
                f"after step {trainer.global_step} the weights or running statistics are not finite "
                f"({', '.join(wrong[:3]) or 'on another process'}){kept}. Lower model.lr, or check the data "
                "(deeplab data check)"
            )

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse to score weights that are not finite."""
        if trainer.state.fn == "fit":
            self._check_finite(trainer, pl_module)

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """End the training on a signal without waiting for the rest of the validation, which a resume repeats."""
        if self._signal and trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._exit(trainer, self._signal)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the best checkpoint; the last one is due before the next step."""
        super().on_validation_end(trainer, pl_module)
        self._validated = not trainer.sanity_checking
        if trainer.sanity_checking:
            self._logged = list(trainer.callback_metrics)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last step, and remove the previous checkpoint, which is no longer needed."""
        if trainer.global_step != self._saved_step and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._save(trainer, pl_module)
        if trainer.is_global_zero:
            self._run.previous.unlink(missing_ok=True)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save the state of the training, unless it is saved already or a step is incomplete.

        Unlike `trainer.save_checkpoint`, this has no barrier, because other ranks may never reach it.
        """
        if not self._started or trainer.state.fn != "fit" or isinstance(exception, LostFolderError):
            return
        progress: Any = trainer.fit_loop.epoch_loop.batch_progress.current
        whole = progress.started == progress.completed and progress.completed % trainer.accumulate_grad_batches == 0
        if whole and trainer.global_step != self._saved_step and not not_finite(pl_module.state_dict()):
            for logger in trainer.loggers:
                logger.save()
            with suppress(OSError):  # an error here would hide the first one
                trainer.strategy.save_checkpoint(dump_checkpoint(trainer), self._run.last)
                self._saved_step = trainer.global_step
        if self._run.last.exists():
            rank_zero_info(f"{self._run.last} is of step {self._saved_step}; --ckpt_path last resumes from there")

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Write Lightning's counts as those between two batches, whenever the checkpoint is saved.

        Lightning counts each batch and epoch as ready, started, processed and completed, and resumes from where these
        counts differ. In the middle of an epoch, in a validation after a step and at the end of a training they differ
        in three ways. Lightning resumes exactly only from the state between two batches, so every state is written as
        that one: the steps so far are completed, and the next has not begun.
        """
        state = checkpoint["loops"]["fit_loop"]
        batches, epochs = state["epoch_loop.batch_progress"], state["epoch_progress"]
        for counts in (batches["total"], batches["current"]):
            counts |= dict.fromkeys(counts, counts["completed"])
        done = epochs["total"]["started"] - 1
        if batches["current"]["completed"] >= trainer.fit_loop.max_batches:  # the epoch is complete
            done += 1
            batches["current"] |= dict.fromkeys(batches["current"], 0)
        batches["is_last_batch"] = False
        validation = state["epoch_loop.val_loop.batch_progress"]
        for counts in (validation["total"], validation["current"]):
            # A validation that ended with an error within a batch must start again. Lightning does so if a batch was
            # started and not processed; if the counts are between two batches, it regards the validation as done.
            if counts["completed"] < counts["ready"]:
                counts |= {"started": counts["ready"]} | dict.fromkeys(("processed", "completed"), counts["ready"] - 1)
        for counts in (epochs["total"], epochs["current"]):
            counts |= {"ready": done + 1, "started": done + 1, "processed": done, "completed": done}
        set_steps(checkpoint["loops"], trainer.global_step)
        checkpoint["epoch"] = done

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the paths of the checkpoints."""
        if self.best_model_path:
            rank_zero_info(f"best: {self.best_model_path} ({self.monitor} {self.best_model_score:.4f})")
        rank_zero_info(f"last: {self._run.last} (step {trainer.global_step})")

    def state_dict(self) -> dict[str, Any]:
        """Return the best score; the path of its checkpoint is not kept, because the folder may be moved."""
        return {"best_model_score": self.best_model_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best score if its checkpoint still exists."""
        best = self._run.best
        score = state_dict["best_model_score"]
        if score is not None and best.is_file():
            self.best_model_score = self.kth_value = score
            self.best_model_path = self.kth_best_model_path = str(best)
            self.best_k_models = {str(best): score}

    @property
    def _run(self) -> RunFolder:
        return RunFolder(Path(str(self.dirpath)))
