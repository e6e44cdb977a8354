"""The record of a run: its settings, the commit of this code, the machine and the running time."""

import json
import platform
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml
from lightning import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

import deeplab_lightning
from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.callbacks.global_batch import GlobalBatch
from deeplab_lightning.callbacks.log_folder import log_folder


class RecordRun(SaveConfigCallback):
    """Writes `config.yaml` and `run.json` into the run's log folder, and the same into the run's config in W&B.

    `run.json` holds {git, environment} and, for a training, `batch`. It gets `seconds` when the run finishes, is
    interrupted or fails; a killed run has none. W&B's summary has `seconds` only for a finished run, by which reports
    recognise it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._start = time.monotonic()
        self._record: dict[str, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the log folder."""
        self._logs = log_folder(trainer)
        super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the settings, which are not validated a second time, and all values that are known at the start."""
        settings = self.parser.dump(self.config, skip_unset=False, skip_validation=True)
        write_atomically(self._logs.config, settings)
        self._record = {"git": git_state(), "environment": environment(trainer)}
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, GlobalBatch) and callback.record:
                self._record["batch"] = callback.record
        self._write()
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.config.update(yaml.safe_load(settings) | self._record, allow_val_change=True)

    @rank_zero_only
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the time of a training."""
        self._finish(trainer)

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the time of a validation outside a training."""
        if trainer.state.fn == "validate":
            self._finish(trainer)

    @rank_zero_only
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the time of a test."""
        self._finish(trainer)

    @rank_zero_only
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Record the time of a run that ends early."""
        if self._record and self._logs.path.is_dir():  # else the run folder was moved or deleted
            with suppress(OSError):  # an error here would hide the first one
                self._record_time()

    @rank_zero_only
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the time of a prediction."""
        self._finish(trainer)

    def _finish(self, trainer: Trainer) -> None:
        self._record_time()
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.experiment.summary["seconds"] = self._record["seconds"]

    def _record_time(self) -> None:
        self._record["seconds"] = round(time.monotonic() - self._start, 1)
        self._write()

    def _write(self) -> None:
        write_atomically(self._logs.run, json.dumps(self._record, indent=1))


def git_state() -> dict[str, Any] | None:
    """Return the commit of this code and whether files differ from it; None if the code is not in a git checkout."""
    root = Path(deeplab_lightning.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        commit, status = (
            subprocess.run(["git", "-C", root, *command], capture_output=True, text=True, check=True).stdout.strip()
            for command in (("rev-parse", "HEAD"), ("status", "--porcelain"))
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "dirty": bool(status)}


def environment(trainer: Trainer) -> dict[str, Any]:
    """Return the versions and the devices that the run uses."""
    device = trainer.strategy.root_device
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "cuda": torch.version.cuda,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})",
        "num_devices": trainer.world_size,
    }
