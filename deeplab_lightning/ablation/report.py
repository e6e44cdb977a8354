"""What runs left on disk, as records and as tables."""

import csv
import json
import math
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from deeplab_lightning.datasets.images import load
from deeplab_lightning.identity import Record, describe_identity

METRIC_NAMES = {
    "miou": "mIoU",
    "miou_gain": "mIoU gain",
    "pixel_accuracy": "pixel accuracy",
    "trimap_miou": "trimap mIoU, band of {} px",
    "trimap_accuracy": "trimap pixel accuracy, band of {} px",
    "iou": "IoU {}",
    "loss": "loss",
    "seconds_per_image": "seconds per image",
}

Curve = list[tuple[float, float]]
"""(step, value) pairs."""


@dataclass
class Run:
    """One run folder.

    Args:
        name: of the folder.
        records: {run, split, metric, value, identity}, one for each score.
        curves: by logged name.
        panels: pictures of the newest evaluation.
        faults: what could not be read, a sentence each.
    """

    name: str
    records: list[Record]
    curves: dict[str, Curve] = field(default_factory=dict)
    panels: list[Path] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@dataclass
class Table:
    """Scores of one run: a row for each metric, a column for each identity.

    Args:
        columns: short label of each identity, numbered.
        rows: metric and its value in each column, None where it was not measured.
        identities: how each column was measured, in full.
    """

    columns: list[str]
    rows: list[tuple[str, list[float | None]]]
    identities: list[str]


def read_run(folder: Path) -> Run:
    """Read a run folder: the newest record of every (metric, identity), all curves, the newest panels.

    Raises:
        FileNotFoundError: there is no such folder, or nothing was evaluated in it.
        ValueError: nothing was evaluated but for what cannot be read.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such run folder")
    run = read_logs(folder)
    if not run.records:
        if run.faults:
            raise ValueError("; ".join(run.faults))
        raise FileNotFoundError(
            f"{folder}: nothing was evaluated in this run; `deeplab validate` or `deeplab test` does that"
        )
    return run


def read_logs(folder: Path) -> Run:
    """What there is so far of what `read_run` reads, even if that is nothing."""
    logs = sorted((path for path in (folder / "logs").glob("*") if path.is_dir()), key=_age)
    newest: dict[tuple[str, str], Record] = {}
    run = Run(folder.resolve().name, [])
    for log in logs:
        if (log / "evaluation.json").is_file():
            for record in _read_records(log / "evaluation.json", run.faults):
                key = (record["metric"], describe_identity(record["identity"]))
                newest[key] = {"run": run.name, **record}
        run.panels = _pictures(sorted((log / "panels").glob("*/*.png")), folder, run.faults) or run.panels
    run.records, run.curves = list(newest.values()), _read_curves(logs, run.faults)
    return run


def _age(log: Path) -> float:
    return max((path.stat().st_mtime for path in log.iterdir() if path.is_file()), default=0.0)


def _read_records(path: Path, faults: list[str]) -> list[Record]:
    try:
        return check_records(json.loads(path.read_text()))
    except (OSError, ValueError, LookupError, TypeError) as error:
        faults.append(f"{path}: left out, for it cannot be read ({_reason(error)})")
        return []


def check_records(content: object) -> list[Record]:
    """The scores {metric, value, identity} that were read from a file, once all of them can be shown.

    Raises:
        ValueError, LookupError or TypeError: what was read is something else.
    """
    if not isinstance(content, list):
        raise TypeError("it is no list of scores")
    for record in content:
        if not isinstance(record["value"], float | int) or not isinstance(record["metric"], str):
            raise TypeError(f"{record['metric']} has the value {record['value']!r}")
        metric_name(record["metric"])
        describe_identity(record["identity"])
        short_label(record["identity"])
    return content


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, LookupError) else " ".join(str(error).split())


def _pictures(paths: list[Path], folder: Path, faults: list[str]) -> list[Path]:
    """The panels among some files: PNGs that are in the run folder, to which no link leads from it.

    A page embeds what a panel holds, and may be shown to others.
    """
    found = []
    for path in paths:
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


def _read_curves(logs: list[Path], faults: list[str]) -> dict[str, Curve]:
    """The curves of all fits, each from its first step on in the place of what an earlier one logged there."""
    curves: dict[str, Curve] = {}
    for log in logs:
        if not log.name.startswith("fit") or not (log / "metrics.csv").is_file():
            continue
        points = _read_points(log / "metrics.csv", faults)
        start = min((step for _, step, _ in points), default=math.inf)
        curves = {name: [point for point in curve if point[0] < start] for name, curve in curves.items()}
        for name, step, value in points:
            curves.setdefault(name, []).append((step, value))
    return {name: curve for name, curve in curves.items() if curve}


def _read_points(path: Path, faults: list[str]) -> list[tuple[str, float, float]]:
    """What a fit logged: name, step, value."""
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
            except (ValueError, TypeError):  # a list is what is beyond the last column
                faults.append(
                    f"{path}: line {number}, {name} {value!r} at step {row['step']!r} is left out: no numbers"
                )
    return points


def metric_name(metric: str) -> str:
    """What a logged name such as "val/iou_crf/person" measures; the CRF is part of the identity, not of the name."""
    _, kind, *detail = metric.split("/", 2)
    known = METRIC_NAMES.get(kind.removesuffix("_crf"))
    return kind if known is None else known.format(*detail)


def short_label(identity: Record) -> str:
    """A column's heading; the identity in full stands below the table."""
    parts = [identity["split"]]
    if len(identity["scales"]) > 1:
        parts.append("multi-scale")
    if identity["flip"]:
        parts.append("flip")
    if identity["crf"]:
        parts.append("CRF")
    return " + ".join(parts)


def tabulate(run: Run) -> Table:
    """Put the records of a run into one table."""
    identities: dict[str, str] = {}
    rows: dict[str, dict[str, float]] = defaultdict(dict)
    for record in run.records:
        described = describe_identity(record["identity"])
        identities.setdefault(described, short_label(record["identity"]))
        rows[metric_name(record["metric"])][described] = record["value"]
    columns = [f"{label} [{number}]" for number, label in enumerate(identities.values(), 1)]
    values = [(name, [row.get(identity) for identity in identities]) for name, row in rows.items()]
    return Table(columns, values, [f"[{number}] {identity}" for number, identity in enumerate(identities, 1)])
