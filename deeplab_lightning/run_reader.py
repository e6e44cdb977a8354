"""The reader of run folders: it returns the scores, curves and pictures of a run, and the record of the run itself."""

import csv
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deeplab_lightning.class_record import ClassRecord
from deeplab_lightning.datasets.images import load
from deeplab_lightning.identity import describe_identity
from deeplab_lightning.run_folder import LogFolder, RunFolder
from deeplab_lightning.scores import Score, ScoreName

Curve = list[tuple[float, float]]
"""The points of a curve as (step, value) pairs."""


@dataclass(frozen=True)
class RunRecord:
    """The record of one run of a command that has ended or was interrupted.

    Args:
        seconds: The duration of the run.
        num_devices: The number of devices that the command ran on.
        batch_norm: The part of a batch over which batch norm was computed; empty where that was not recorded.
    """

    seconds: float
    num_devices: int
    batch_norm: str


@dataclass
class Run:
    """The content of one run folder.

    Args:
        name: The name of the folder.
        scores: The newest score of each name and identity.
        curves: The curves of the trainings in the folder, by logged name.
        panels: The pictures of the newest run that has any.
        classes: The newest confusion matrix of each identity.
        faults: A sentence for each file or value that cannot be read.
    """

    name: str
    scores: list[Score] = field(default_factory=list)
    curves: dict[str, Curve] = field(default_factory=dict)
    panels: list[Path] = field(default_factory=list)
    classes: list[ClassRecord] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def read_run(folder: Path) -> Run:
    """Read a run folder that contains at least one evaluation.

    Raises:
        FileNotFoundError: There is no such folder, or it contains no evaluation.
        ValueError: None of the evaluations can be read.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such run folder")
    run = read_logs(folder)
    if not run.scores:
        if run.faults:
            raise ValueError("; ".join(run.faults))
        raise FileNotFoundError(f"{folder}: this run has no evaluation; run `deeplab validate` or `deeplab test` first")
    return run


def read_logs(folder: Path) -> Run:
    """Read the existing files of a run folder, which may be none so far. Unreadable files become faults."""
    logs = sorted(RunFolder(folder).logs(), key=lambda log: log.modified)
    newest: dict[tuple[ScoreName, str], Score] = {}
    classes: dict[str, ClassRecord] = {}
    run = Run(folder.resolve().name)
    for log in logs:
        if log.evaluation.is_file():
            for score in _readable_scores(log.evaluation, run.faults):
                newest[score.name, describe_identity(score.identity)] = score
        for path in log.class_records():
            for record in _readable_classes(path, run.faults):
                classes[describe_identity(record.identity)] = record
        run.panels = _panels(log, folder, run.faults) or run.panels
    run.scores, run.curves = list(newest.values()), _read_curves(logs, run.faults)
    run.classes = list(classes.values())
    return run


def _readable_scores(path: Path, faults: list[str]) -> list[Score]:
    """The scores of an evaluation. If the file cannot be read, there are none, and a fault is added."""
    try:
        return to_scores(json.loads(path.read_text()))
    except (OSError, ValueError, LookupError, TypeError) as error:
        faults.append(f"{path}: left out, because it cannot be read ({_reason(error)})")
        return []


def _readable_classes(path: Path, faults: list[str]) -> list[ClassRecord]:
    """The confusion matrix in a file. If it cannot be read, there is none, and a fault is added."""
    try:
        record = ClassRecord.of_record(json.loads(path.read_text()))
        describe_identity(record.identity)  # raises an error if the identity is incomplete
    except (OSError, ValueError, LookupError, TypeError) as error:
        faults.append(f"{path}: left out, because it cannot be read ({_reason(error)})")
        return []
    return [record]


def to_scores(records: object) -> list[Score]:
    """Convert records to scores.

    Raises:
        LookupError, TypeError, ValueError: The value is not a list of records.
    """
    if not isinstance(records, list):
        raise TypeError("it is not a list of scores")
    scores = [Score.of_record(record) for record in records]
    for score in scores:
        describe_identity(score.identity)  # raises an error if the identity is incomplete
    return scores


def read_scores(path: Path) -> list[Score]:
    """The scores in the file of an evaluation.

    Raises:
        ValueError: The file cannot be read; the message names it.
    """
    with reading(path) as records:
        return to_scores(records)


def read_record(path: Path) -> RunRecord:
    """The record of a run, read from its file.

    Raises:
        ValueError: The file cannot be read; the message names it.
    """
    with reading(path) as content:
        return RunRecord(
            seconds=float(content["seconds"]),
            num_devices=int(content["environment"]["num_devices"]),
            batch_norm=str(content.get("batch", {}).get("batch_norm", "")),
        )


def read_seconds(path: Path) -> float:
    """The duration of a run, read from its record; 0 where the record cannot be read."""
    try:
        with reading(path) as content:
            return float(content["seconds"])
    except ValueError:
        return 0.0


@contextmanager
def reading(path: Path) -> Iterator[Any]:
    """Yield the content of a JSON file to a block that looks up values in it.

    Raises:
        ValueError: The file cannot be read, or it lacks a value that the block looks up. The message names the file.
    """
    try:
        yield json.loads(path.read_text())
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"unreadable: {path}") from error


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, LookupError) else " ".join(str(error).split())


def _panels(log: LogFolder, folder: Path, faults: list[str]) -> list[Path]:
    """The pictures of a log that are PNG files and do not link to a file outside the run folder.

    A report embeds these pictures. If the run folder comes from somebody else, a link in it could place a private file
    of this machine in a report that is then shared.
    """
    found = []
    for path in log.pictures():
        try:
            if not path.resolve(strict=True).is_relative_to(folder.resolve()):
                raise ValueError(f"it is a link to {path.resolve()}, which is not in the run folder")
            if (kind := load(path).format) != "PNG":
                raise ValueError(f"it is a {kind}")
        except (OSError, ValueError) as error:
            faults.append(f"{path}: left out, because it cannot be shown as a panel ({_reason(error)})")
        else:
            found.append(path)
    return found


def _read_curves(logs: list[LogFolder], faults: list[str]) -> dict[str, Curve]:
    """The curves of all fits.

    A resumed fit repeats the steps after its checkpoint. From its first step on, its points replace those of earlier
    fits.
    """
    curves: dict[str, Curve] = {}
    for log in logs:
        if log.command != "fit" or not log.metrics.is_file():
            continue
        points = _read_points(log.metrics, faults)
        start = min((step for _, step, _ in points), default=math.inf)
        curves = {name: [point for point in curve if point[0] < start] for name, curve in curves.items()}
        for name, step, value in points:
            curves.setdefault(name, []).append((step, value))
    return {name: curve for name, curve in curves.items() if curve}


def _read_points(path: Path, faults: list[str]) -> list[tuple[str, float, float]]:
    """The points of all curves of a fit as (name, step, value)."""
    points = []
    try:
        rows = list(csv.DictReader(path.read_text(errors="replace").splitlines()))
    except (OSError, csv.Error) as error:
        faults.append(f"{path}: left out, because it cannot be read ({_reason(error)})")
        return []
    for number, row in enumerate(rows, 2):
        for name, value in row.items():
            if not row.get("step") or not value or name in ("step", "epoch"):
                continue
            try:
                points.append((name, float(row["step"]), float(value)))
            except (ValueError, TypeError):  # TypeError: DictReader puts surplus values into a list
                faults.append(
                    f"{path}: line {number}, {name} {value!r} at step {row['step']!r} is left out: not a number"
                )
    return points
