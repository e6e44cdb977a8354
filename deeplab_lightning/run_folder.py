"""The names of the files in a run folder and in the folders of its logs, said once."""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Self

SEED, EVALUATIONS = "_seed", "evaluations"
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

    def pictures(self) -> list[Path]:
        """The pictures of all splits that are there, sorted by split and name."""
        return sorted(self.panels.glob("*/*.png"))

    @property
    def predictions(self) -> Path:
        """The folder of predicted label maps."""
        return self.path / "predictions"

    @property
    def modified(self) -> float:
        """The time of the newest file, in seconds since 1970; 0 where there is no file."""
        return max((path.stat().st_mtime for path in self.path.iterdir() if path.is_file()), default=0.0)


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

    @property
    def log_root(self) -> Path:
        """The folder of the folders of logs."""
        return self.path / "logs"

    def logs(self, command: str = "*") -> list[LogFolder]:
        """The folders of logs that are there, of one command or of all, in no order."""
        return [LogFolder(path) for path in self.log_root.glob(f"{command}_*") if path.is_dir()]

    def new_log(self, command: str) -> LogFolder:
        """The folder of logs that the next run of a command will have; it is not made."""
        paths = (self.log_root / f"{command}_{number}" for number in count())
        return LogFolder(next(path for path in paths if not path.exists()))

    def recorded_logs(self, command: str) -> list[LogFolder]:
        """The folders of logs of a command that hold the record of a run, the oldest record first."""
        recorded = [log for log in self.logs(command) if log.run.is_file()]
        return sorted(recorded, key=lambda log: log.run.stat().st_mtime_ns)

    def newest_config(self, command: str = "*") -> Path | None:
        """The resolved settings of the newest run of a command, or of any; None where there are none."""
        return newest(log.config for log in self.logs(command))

    @classmethod
    def of_config(cls, path: Path) -> Self | None:
        """The run folder whose logs hold this config.yaml; None where the path is another file's."""
        return cls(path.parents[2]) if path.match("logs/*/config.yaml") else None


@dataclass(frozen=True)
class JobKey:
    """The name of a job of a table, by which it is found again: the path of its folder among those of all jobs.

    Args:
        training: The name of the training's folder, the hash of its settings and its seed.
        evaluation: The hash of an evaluation's settings; empty for the training itself.
    """

    training: str
    evaluation: str = ""

    def __str__(self) -> str:
        return f"{self.training}/{EVALUATIONS}/{self.evaluation}" if self.evaluation else self.training

    @classmethod
    def parse(cls, text: str) -> Self:
        """The key that a text is.

        Raises:
            ValueError: It is something else.
        """
        match = re.fullmatch(rf"([^/]*{SEED}\d+)(?:/{EVALUATIONS}/([^/]+))?", text)
        if match is None:
            raise ValueError(f"{text!r} is no key of a job")
        return cls(match[1], match[2] or "")

    @classmethod
    def of_training(cls, digest: str, seed: int) -> Self:
        """The key of a training, by the hash of its settings and its seed."""
        return cls(f"{digest}{SEED}{seed}")

    @property
    def digest(self) -> str:
        """The hash of the training's settings."""
        return self.training.rpartition(SEED)[0]

    @property
    def seed(self) -> int:
        """The seed of the training."""
        return int(self.training.rpartition(SEED)[2])

    @property
    def own_digest(self) -> str:
        """The hash of the job's own settings, whether it is a training or an evaluation."""
        return self.evaluation or self.digest


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

    @classmethod
    def of(cls, root: Path, key: JobKey) -> Self:
        """The folder of a job among those of all jobs."""
        return cls(root / str(key))

    @classmethod
    def under(cls, root: Path) -> dict[JobKey, Self]:
        """The folders of all jobs that are there, in the order in which the jobs were done; first what is not done."""
        found: dict[JobKey, Self] = {}
        for path in [*root.glob(f"*{SEED}*"), *root.glob(f"*{SEED}*/{EVALUATIONS}/*")]:
            with suppress(ValueError):  # a copy that somebody has put aside
                found[JobKey.parse(path.relative_to(root).as_posix())] = cls(path)
        return dict(sorted(found.items(), key=lambda item: _modified(item[1].done)))


def newest(paths: Iterable[Path]) -> Path | None:
    """The file that was written last; None where none is there."""
    return max((path for path in paths if path.is_file()), key=_modified, default=None)


def _modified(path: Path) -> int:
    """The time of a file in nanoseconds since 1970; 0 where it is not there."""
    return path.stat().st_mtime_ns if path.is_file() else 0
