"""The reader of run folders: what a run left on disk, as scores, curves, pictures and a record of the run itself."""

import csv
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deeplab_lightning.datasets.images import load
from deeplab_lightning.identity import describe_identity
from deeplab_lightning.run_folder import LogFolder, RunFolder
from deeplab_lightning.scores import Score, ScoreName

Curve = list[tuple[float, float]]
"""(step, value) pairs."""


@dataclass(frozen=True)
class RunRecord:
    """The record of one run of a command that came to its end or was interrupted.

    Args:
        seconds: How long it took.
        num_devices: The number of devices that it ran on.
        batch_norm: The part of a batch that a training's batch norms saw; empty where that was not recorded.
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
        curves: The curves of its trainings by logged name.
        panels: The pictures of the newest evaluation.
        faults: A sentence for each thing that cannot be read.
    """

    name: str
    scores: list[Score] = field(default_factory=list)
    curves: dict[str, Curve] = field(default_factory=dict)
    panels: list[Path] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def read_run(folder: Path) -> Run:
    """Read a run folder in which something was evaluated.

    Raises:
        FileNotFoundError: There is no such folder, or nothing was evaluated in it.
        ValueError: None of its evaluations can be read.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such run folder")
    run = read_logs(folder)
    if not run.scores:
        if run.faults:
            raise ValueError("; ".join(run.faults))
        raise FileNotFoundError(
            f"{folder}: nothing was evaluated in this run; `deeplab validate` or `deeplab test` does that"
        )
    return run


def read_logs(folder: Path) -> Run:
    """Read what there is so far of a run folder, even if that is nothing; what cannot be read is a fault."""
    logs = sorted(RunFolder(folder).logs(), key=lambda log: log.modified)
    newest: dict[tuple[ScoreName, str], Score] = {}
    run = Run(folder.resolve().name)
    for log in logs:
        if log.evaluation.is_file():
            for score in _readable_scores(log.evaluation, run.faults):
                newest[score.name, describe_identity(score.identity)] = score
        run.panels = _panels(log, folder, run.faults) or run.panels
    run.scores, run.curves = list(newest.values()), _read_curves(logs, run.faults)
    return run


def _readable_scores(path: Path, faults: list[str]) -> list[Score]:
    """The scores of an evaluation; none, and a fault, where its file cannot be read."""
    try:
        return to_scores(json.loads(path.read_text()))
    except (OSError, ValueError, LookupError, TypeError) as error:
        faults.append(f"{path}: left out, for it cannot be read ({_reason(error)})")
        return []


def to_scores(records: object) -> list[Score]:
    """The scores that were written as records.

    Raises:
        LookupError, TypeError, ValueError: The records are something else.
    """
    if not isinstance(records, list):
        raise TypeError("it is no list of scores")
    scores = [Score.of_record(record) for record in records]
    for score in scores:
        describe_identity(score.identity)  # fails where something of it is missing
    return scores


def read_scores(path: Path) -> list[Score]:
    """The scores in the file of an evaluation.

    Raises:
        ValueError: The file cannot be read; the message names it.
    """
    with reading(path) as records:
        return to_scores(records)


def read_record(path: Path) -> RunRecord:
    """The record of a run in its file.

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
    """How long a run took by the record in its file; 0 where that is not known."""
    try:
        with reading(path) as content:
            return float(content["seconds"])
    except ValueError:
        return 0.0


@contextmanager
def reading(path: Path) -> Iterator[Any]:
    """The content of a JSON file, in which something is looked up.

    Raises:
        ValueError: The file cannot be read, or lacks what is looked up; the message names it.
    """
    try:
        yield json.loads(path.read_text())
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"unreadable: {path}") from error


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, LookupError) else " ".join(str(error).split())


def _panels(log: LogFolder, folder: Path, faults: list[str]) -> list[Path]:
    """The pictures of a log that are PNGs within the run folder, which no link leaves.

    A page embeds the content of a panel and may be shown to others, so a link in a run folder that somebody else has
    made could show them a private file.
    """
    found = []
    for path in log.pictures():
        try:
            if not path.resolve(strict=True).is_relative_to(folder.resolve()):
                raise ValueError(f"it is a link to {path.resolve()}, which is not in the run folder")
            if (kind := load(path).format) != "PNG":
                raise ValueError(f"it is a {kind}")
        except (OSError, ValueError) as error:
            faults.append(f"{path}: left out, for it is not shown as a panel ({_reason(error)})")
        else:
            found.append(path)
    return found


def _read_curves(logs: list[LogFolder], faults: list[str]) -> dict[str, Curve]:
    """The curves of all fits.

    A fit that was resumed repeats the steps after its checkpoint: from its first step on it replaces what an earlier
    fit logged.
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
    """The points (name, step, value) that a fit logged."""
    points = []
    try:
        rows = list(csv.DictReader(path.read_text(errors="replace").splitlines()))
    except (OSError, csv.Error) as error:
        faults.append(f"{path}: left out, for it cannot be read ({_reason(error)})")
        return []
    for number, row in enumerate(rows, 2):
        for name, value in row.items():
            if not row.get("step") or not value or name in ("step", "epoch"):
                continue
            try:
                points.append((name, float(row["step"]), float(value)))
            except (ValueError, TypeError):  # DictReader makes a list of the values beyond the last column
                faults.append(
                    f"{path}: line {number}, {name} {value!r} at step {row['step']!r} is left out: no numbers"
                )
    return points
