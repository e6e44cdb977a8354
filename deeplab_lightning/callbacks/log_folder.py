"""The log folder of a run."""

from pathlib import Path

from lightning import Trainer

from deeplab_lightning.run_folder import LogFolder


def log_folder(trainer: Trainer) -> LogFolder:
    """Return the log folder of this run; every process must call this, because the folder is agreed by a broadcast."""
    return LogFolder(Path(trainer.log_dir or trainer.default_root_dir))
