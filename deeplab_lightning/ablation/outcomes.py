"""The outcomes of jobs, which are written into the jobs' folders when the jobs end, and read back from there."""

import json
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Self

from deeplab_lightning.ablation.protocol import PROTOCOL
from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.run_folder import JobFolder, JobKey
from deeplab_lightning.run_reader import reading, to_scores
from deeplab_lightning.scores import Score


class State(Enum):
    """The state of a job."""

    NOT_RUN = "not yet run"
    STARTED = "started"
    WAITING = "waiting for another machine"
    UNFINISHED = "unfinished"
    DONE = "done"
    FAILED = "failed"
    UNREADABLE = "unreadable"  # the job has ended, but its record is damaged
    ELSEWHERE = "in progress elsewhere"
    OLDER = "done under an older protocol"
    LACKING = "lacking what it needs"  # the training that the job starts from or scores is not done


@dataclass(frozen=True)
class Outcome:
    """The outcome of one job. The job is done unless its state says otherwise.

    Args:
        state: The state of the job.
        reason: The reason for the state: the cause of a failure, or the file that cannot be read.
        seconds: The duration of the job.
        scores: The scores of an evaluation. A training has none.
        num_devices: The number of devices that the job trained on.
        batch_norm: The part of a batch over which batch norm was computed; empty where that was not recorded.
        submission: The path of the package for the server, on the machine that ran the job; empty if there is none.
        protocol: The number of the protocol under which the job was done.
        asked: The hashes of the settings as the tables gave them.
        folder: The folder of the job; None where the outcome was read from W&B.
    """

    state: State = State.DONE
    reason: str = ""
    seconds: float = 0.0
    scores: list[Score] = field(default_factory=list)
    num_devices: int = 1
    batch_norm: str = ""
    submission: str = ""
    protocol: int = PROTOCOL
    asked: list[str] = field(default_factory=list)
    folder: Path | None = field(default=None, compare=False)

    @property
    def is_done(self) -> bool:
        """Whether the job is done."""
        return self.state is State.DONE

    def __str__(self) -> str:
        return f"{self.state.value}: {self.reason}" if self.reason else self.state.value

    def write(self, folder: JobFolder, command: str, more: dict[str, Any]) -> None:
        """Write the outcome of a job that has ended into its folder.

        Args:
            folder: The folder of the job.
            command: The subcommand of `deeplab` that the job ran.
            more: Further values for the record of a finished job.
        """
        if not self.is_done:
            _write(folder.failed, {"failure": self.reason})
            return
        content: dict[str, Any] = {"seconds": self.seconds}
        if command == "fit":
            content |= {"num_devices": self.num_devices, "batch_norm": self.batch_norm}
        elif command == "predict":  # a relative path stays valid when the folder is moved
            content["submission"] = Path(self.submission).relative_to(folder.path).as_posix()
        else:
            content["records"] = [score.as_record() for score in self.scores]
        _write(folder.done, content | more | {"protocol": self.protocol, "asked": self.asked})

    @classmethod
    def read(cls, folder: JobFolder) -> Self:
        """The outcome of the job in a folder. An unreadable record is a state of this job alone, not an error."""
        try:
            if folder.done.is_file():
                return cls._read_done(folder)
            if folder.failed.is_file():
                with reading(folder.failed) as failed:
                    return cls(State.FAILED, str(failed["failure"]))
        except ValueError:
            return cls(State.UNREADABLE, str(folder.done if folder.done.is_file() else folder.failed))
        return cls(State.UNFINISHED)

    @classmethod
    def _read_done(cls, folder: JobFolder) -> Self:
        """The outcome of a finished job.

        Records of the first protocol contain neither its number nor the `asked` hash. The hash is in the folder's name.

        Raises:
            ValueError: The record cannot be read.
        """
        with reading(folder.done) as done:
            return cls(
                seconds=float(done["seconds"]),
                scores=to_scores(done.get("records", [])),
                num_devices=int(done.get("num_devices", 1)),
                batch_norm=str(done.get("batch_norm", "")),
                submission=str(folder.path / done["submission"]) if done.get("submission") else "",
                protocol=int(done.get("protocol", 1)),
                asked=[str(each) for each in done.get("asked", [folder.path.name.partition("_")[0]])],
                folder=folder.path,
            )


Outcomes = dict[JobKey, Outcome]


def read_folder(root: Path) -> Outcomes:
    """The outcomes of all jobs below a folder, oldest first."""
    return {key: Outcome.read(folder) for key, folder in JobFolder.under(root).items()}


def _write(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(content, indent=1))
