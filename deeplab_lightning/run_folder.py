"""The names of all files in run folders and log folders, defined in one place."""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Self

SEED, EVALUATIONS = "_seed", "evaluations"
TRIMAP_CURVE = "trimap.png"
"""The file name of the trimap curve, which lies in the folder of a split's panels."""


@dataclass(frozen=True)
class LogFolder:
    """The folder `logs/<command>_<number>` of one run of a command, and the files in it.

    Args:
        path: The path of the folder.
    """

    path: Path

    @property
    def command(self) -> str:
        """The command that wrote the folder: "fit", "validate", "test" or "predict"."""
        return self.path.name.partition("_")[0]

    @property
    def config(self) -> Path:
        """The file with the resolved settings."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """The CSV file with the curves."""
        return self.path / "metrics.csv"

    @property
    def evaluation(self) -> Path:
        """The file with the scores and their identities."""
        return self.path / "evaluation.json"

    def classes(self, split: str, refined: bool = False) -> Path:
        """The file with the confusion matrix of a split, without or with a CRF."""
        return self.path / f"classes_{split}{'_crf' if refined else ''}.json"

    def class_records(self) -> list[Path]:
        """The existing files with confusion matrices, sorted by name."""
        return sorted(self.path.glob("classes_*.json"))

    @property
    def run(self) -> Path:
        """The file that records the code, the machine and the time."""
        return self.path / "run.json"

    @property
    def panels(self) -> Path:
        """The folder of pictures, with one folder for each split."""
        return self.path / "panels"

    def pictures(self) -> list[Path]:
        """The existing pictures of all splits, sorted by split and name."""
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
        path: The path of the folder.
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
        """The second newest checkpoint, which exists while the newest one is being written."""
        return self.path / "previous.ckpt"

    @property
    def fit_lock(self) -> Path:
        """The lock file that a running training holds."""
        return self.path / ".fit.lock"

    @property
    def wandb(self) -> Path:
        """The folder of the offline records of Weights & Biases."""
        return self.path / "wandb"

    @property
    def log_root(self) -> Path:
        """The folder that contains the log folders."""
        return self.path / "logs"

    def logs(self, command: str = "*") -> list[LogFolder]:
        """The existing log folders of one command, or of all commands, in no particular order."""
        return [LogFolder(path) for path in self.log_root.glob(f"{command}_*") if path.is_dir()]

    def new_log(self, command: str) -> LogFolder:
        """The log folder for the next run of a command. It is not created."""
        paths = (self.log_root / f"{command}_{number}" for number in count())
        return LogFolder(next(path for path in paths if not path.exists()))

    def claim_log(self, command: str) -> LogFolder:
        """Create the log folder for the next run of a command, which no other process gets then."""
        numbers = count()
        while True:
            log = LogFolder(self.log_root / f"{command}_{next(numbers)}")
            with suppress(FileExistsError):
                log.path.mkdir(parents=True)
                return log

    def recorded_logs(self, command: str) -> list[LogFolder]:
        """The log folders of a command that contain the record of a run, the oldest record first."""
        recorded = [log for log in self.logs(command) if log.run.is_file()]
        return sorted(recorded, key=lambda log: log.run.stat().st_mtime_ns)

    def newest_config(self, command: str = "*") -> Path | None:
        """The file with the resolved settings of the newest run of one command, or of any; None where there is none."""
        return newest(log.config for log in self.logs(command))

    @classmethod
    def of_config(cls, path: Path) -> Self | None:
        """The run folder whose logs contain this config.yaml; None for the path of any other file."""
        return cls(path.parents[2]) if path.match("logs/*/config.yaml") else None


@dataclass(frozen=True)
class JobKey:
    """The key that identifies a job. As a text, it is the path of the job's folder below the root folder of all jobs.

    Args:
        training: The name of the training's folder, which consists of the hash of its settings and its seed.
        evaluation: The hash of an evaluation's settings; empty for the training itself.
    """

    training: str
    evaluation: str = ""

    def __str__(self) -> str:
        return f"{self.training}/{EVALUATIONS}/{self.evaluation}" if self.evaluation else self.training

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a key from its text.

        Raises:
            ValueError: The text is not a key.
        """
        match = re.fullmatch(rf"([^/]*{SEED}\d+)(?:/{EVALUATIONS}/([^/]+))?", text)
        if match is None:
            raise ValueError(f"{text!r} is not the key of a job")
        return cls(match[1], match[2] or "")

    @classmethod
    def of_training(cls, digest: str, seed: int) -> Self:
        """The key of a training, given the hash of its settings and its seed."""
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
    """The run folder of a job, with the files that the runner of jobs adds to it."""

    @property
    def config(self) -> Path:
        """The file with the settings of a training."""
        return self.path / "config.yaml"

    @property
    def evaluate(self) -> Path:
        """The file with the settings that an evaluation adds to those of its training."""
        return self.path / "evaluate.yaml"

    @property
    def done(self) -> Path:
        """The record of a finished job."""
        return self.path / "done.json"

    @property
    def failed(self) -> Path:
        """The record of a failed job."""
        return self.path / "failed.json"

    @property
    def log(self) -> Path:
        """The file with the output of the job's processes."""
        return self.path / "log.txt"

    @property
    def lock(self) -> Path:
        """The lock file that the runner and the job's process hold."""
        return self.path / "lock"

    def records(self) -> list[Path]:
        """The existing files that report the job, sorted: settings, logs and outcome.

        Checkpoints, locks, the offline records of Weights & Biases, and the evaluations of a training are left out.
        """
        apart = {self.path / EVALUATIONS, self.wandb}
        files = (path for path in sorted(self.path.rglob("*")) if path.is_file() and not apart & set(path.parents))
        return [
            path
            for path in files
            if path.suffix != self.last.suffix and path != self.lock and not path.name.startswith(".")
        ]

    def clear(self) -> None:
        """Remove the records and the checkpoints of the job."""
        for path in (*self.records(), self.best, self.last, self.previous):
            path.unlink(missing_ok=True)

    def evaluations(self) -> list[Self]:
        """The existing folders of a training's evaluations, sorted by name."""
        return [type(self)(path) for path in sorted(self.path.glob(f"{EVALUATIONS}/*"))]

    @classmethod
    def of(cls, root: Path, key: JobKey) -> Self:
        """The folder of a job, given the root folder of all jobs."""
        return cls(root / str(key))

    @classmethod
    def under(cls, root: Path) -> dict[JobKey, Self]:
        """The existing folders of all jobs: first unfinished jobs, then finished ones in the order of their end."""
        found: dict[JobKey, Self] = {}
        for path in [*root.glob(f"*{SEED}*"), *root.glob(f"*{SEED}*/{EVALUATIONS}/*")]:
            with suppress(ValueError):  # not a key, but for example a backup copy of a folder
                found[JobKey.parse(path.relative_to(root).as_posix())] = cls(path)
        return dict(sorted(found.items(), key=lambda item: _modified(item[1].done)))


def newest(paths: Iterable[Path]) -> Path | None:
    """The most recently written file; None where no file exists."""
    return max((path for path in paths if path.is_file()), key=_modified, default=None)


def _modified(path: Path) -> int:
    """The modification time of a file in nanoseconds since 1970; 0 where the file does not exist."""
    return path.stat().st_mtime_ns if path.is_file() else 0
