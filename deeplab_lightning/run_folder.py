"""The names of the files in a run folder and in the folders of its logs, said once."""

from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Self

TRIMAP_CURVE = "trimap.png"
"""The picture of the trimap curve, which lies among the panels of a split."""


@dataclass(frozen=True)
class LogFolder:
    """The folder `logs/<command>_<number>` of one run of a command, and the files in it.

    Args:
        path: The folder itself.
    """

    path: Path

    @property
    def command(self) -> str:
        """The command that wrote it: "fit", "validate", "test" or "predict"."""
        return self.path.name.partition("_")[0]

    @property
    def config(self) -> Path:
        """The resolved settings."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """The curves, as CSV."""
        return self.path / "metrics.csv"

    @property
    def evaluation(self) -> Path:
        """The scores with their identities."""
        return self.path / "evaluation.json"

    @property
    def run(self) -> Path:
        """The record of the code, the machine and the time."""
        return self.path / "run.json"

    @property
    def panels(self) -> Path:
        """The folder of pictures, with one folder a split."""
        return self.path / "panels"

    @property
    def predictions(self) -> Path:
        """The folder of predicted label maps."""
        return self.path / "predictions"


@dataclass(frozen=True)
class RunFolder:
    """The folder of one training and of the evaluations of its checkpoints, and the files in it.

    Args:
        path: The folder itself.
    """

    path: Path

    @property
    def best(self) -> Path:
        """The checkpoint with the best score."""
        return self.path / "best.ckpt"

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.path / "last.ckpt"

    @property
    def previous(self) -> Path:
        """The checkpoint before the newest one, while that is being written."""
        return self.path / "previous.ckpt"

    @property
    def fit_lock(self) -> Path:
        """The file that a training holds as long as it runs."""
        return self.path / ".fit.lock"

    @property
    def wandb(self) -> Path:
        """The folder of the offline records of Weights & Biases."""
        return self.path / "wandb"

    def logs(self, command: str = "*") -> list[LogFolder]:
        """The folders of logs that are there, of one command or of all, in no order."""
        return [LogFolder(path) for path in (self.path / "logs").glob(f"{command}_*") if path.is_dir()]

    def new_log(self, command: str) -> LogFolder:
        """The folder of logs that the next run of a command will have; it is not made."""
        paths = (self.path / "logs" / f"{command}_{number}" for number in count())
        return LogFolder(next(path for path in paths if not path.exists()))

    @classmethod
    def of_config(cls, path: Path) -> Self | None:
        """The run folder whose logs hold this config.yaml; None where the path is another file's."""
        return cls(path.parents[2]) if path.match("logs/*/config.yaml") else None


@dataclass(frozen=True)
class JobFolder(RunFolder):
    """The folder of a training or an evaluation of a table, with what its runner keeps beside the run."""

    @property
    def config(self) -> Path:
        """The settings that a table gives a training."""
        return self.path / "config.yaml"

    @property
    def evaluate(self) -> Path:
        """The settings that a table adds to a training's for an evaluation."""
        return self.path / "evaluate.yaml"

    @property
    def done(self) -> Path:
        """The record of how it ended."""
        return self.path / "done.json"

    @property
    def failed(self) -> Path:
        """The record of why it did not."""
        return self.path / "failed.json"

    @property
    def log(self) -> Path:
        """What its processes printed."""
        return self.path / "log.txt"

    @property
    def lock(self) -> Path:
        """The file that its runner holds."""
        return self.path / "lock"

    def evaluation(self, digest: str) -> "JobFolder":
        """The folder of an evaluation of this training, by the hash of its settings."""
        return JobFolder(self.path / "evaluations" / digest)

    def evaluations(self) -> list["JobFolder"]:
        """The folders of the evaluations of this training that are there, in no order."""
        return [JobFolder(path) for path in (self.path / "evaluations").glob("*") if path.is_dir()]
