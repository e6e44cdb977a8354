"""What runs left on disk, as records and as tables."""

import csv
import json
import math
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

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
    """

    name: str
    records: list[Record]
    curves: dict[str, Curve] = field(default_factory=dict)
    panels: list[Path] = field(default_factory=list)


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
        ValueError: a file in it cannot be read.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such run folder")
    run = read_logs(folder)
    if not run.records:
        raise FileNotFoundError(
            f"{folder}: nothing was evaluated in this run; `deeplab validate` or `deeplab test` does that"
        )
    return run


def read_logs(folder: Path) -> Run:
    """What there is so far of what `read_run` reads, even if that is nothing.

    Raises:
        ValueError: a file in it cannot be read.
    """
    logs = sorted((path for path in (folder / "logs").glob("*") if path.is_dir()), key=_age)
    newest: dict[tuple[str, str], Record] = {}
    panels: list[Path] = []
    for log in logs:
        if (log / "evaluation.json").is_file():
            for record in _read_records(log / "evaluation.json"):
                key = (record["metric"], describe_identity(record["identity"]))
                newest[key] = {"run": folder.resolve().name, **record}
        panels = sorted((log / "panels").glob("*/*.png")) or panels
    return Run(folder.resolve().name, list(newest.values()), _read_curves(logs), panels)


def _age(log: Path) -> float:
    return max((path.stat().st_mtime for path in log.iterdir() if path.is_file()), default=0.0)


def _read_records(path: Path) -> list[Record]:
    try:
        records: list[Record] = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: it cannot be read as JSON ({error})") from error
    return records


def _read_curves(logs: list[Path]) -> dict[str, Curve]:
    """The curves of all fits, each from its first step on in the place of what an earlier one logged there."""
    curves: dict[str, Curve] = {}
    for log in logs:
        if not log.name.startswith("fit") or not (log / "metrics.csv").is_file():
            continue
        with (log / "metrics.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row.get("step")]
        start = min((_number(log, row["step"]) for row in rows), default=math.inf)
        curves = {name: [point for point in curve if point[0] < start] for name, curve in curves.items()}
        for row in rows:
            for name, value in row.items():
                if value and name not in ("step", "epoch"):
                    curves.setdefault(name, []).append((_number(log, row["step"]), _number(log, value)))
    return {name: curve for name, curve in curves.items() if curve}


def _number(log: Path, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{log / 'metrics.csv'}: {text!r} is not a number; the file is damaged") from error


def metric_name(metric: str) -> str:
    """What a logged name such as "val/iou_crf/person" measures; the CRF is part of the identity, not of the name."""
    _, kind, *detail = metric.split("/", 2)
    return METRIC_NAMES.get(kind.removesuffix("_crf"), kind).format(*detail)


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
