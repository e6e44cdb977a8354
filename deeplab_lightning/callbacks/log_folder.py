"""The folder that a run logs into."""

from pathlib import Path

from lightning import Trainer

from deeplab_lightning.run_folder import LogFolder


def log_folder(trainer: Trainer) -> LogFolder:
    """The folder that this run logs into; every process must ask, for they agree on it by a broadcast."""
    return LogFolder(Path(trainer.log_dir or trainer.default_root_dir))
