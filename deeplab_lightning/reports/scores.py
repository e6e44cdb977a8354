"""The scores of one run as grids, by metric, by class, and the most frequent confusions."""

from collections import defaultdict
from math import isnan

import torch

from deeplab_lightning.class_record import ClassRecord
from deeplab_lightning.identity import Record, describe_identity
from deeplab_lightning.metrics import scores_per_class
from deeplab_lightning.reports.grid import Grid, mark, numbered
from deeplab_lightning.run_reader import Run
from deeplab_lightning.scores import ScoreName

METRIC, CLASS = "metric", "class"
METRICS = {
    "miou": "mIoU",
    "miou_gain": "mIoU gain",
    "pixel_accuracy": "pixel accuracy",
    "trimap_miou": "trimap mIoU, band of {} px",
    "trimap_accuracy": "trimap pixel accuracy, band of {} px",
    "iou": "IoU {}",
    "loss": "loss",
    "seconds_per_image": "seconds per image",
}
"""The name of each kind of score, with a placeholder for its detail."""
NOT_MEASURED = "-"
NUM_CONFUSIONS = 10
"""The number of confusions that are listed."""


def metric_name(name: ScoreName) -> str:
    """The name of a score's metric. It does not mention the CRF, which is part of the identity."""
    return METRICS[name.kind].format(name.detail) if name.kind in METRICS else str(name.kind)


def short_label(identity: Record) -> str:
    """The short form of an identity, for the heading of a column. The full identity stands below the grid."""
    parts = [str(identity["split"])]
    if len(identity["scales"]) > 1:
        parts.append("multi-scale")
    if identity["flip"]:
        parts.append("flip")
    if identity["crf"]:
        parts.append("CRF")
    return " + ".join(parts)


def identities_of(run: Run) -> dict[str, str]:
    """The short labels of a run's identities, each with its mark, by the full identities."""
    labels = {describe_identity(score.identity): short_label(score.identity) for score in run.scores}
    return {identity: f"{label} {mark(number)}" for number, (identity, label) in enumerate(labels.items(), 1)}


def label_of(run: Run, record: ClassRecord) -> str:
    """The short label of the evaluation of a confusion matrix, with the mark of its identity if it has one."""
    return identities_of(run).get(describe_identity(record.identity), short_label(record.identity))


def score_grid(run: Run) -> Grid:
    """The scores of a run, without those of single classes: a row for each metric, a column for each identity."""
    labels = identities_of(run)
    values: dict[str, dict[str, float]] = defaultdict(dict)  # by metric and identity
    for score in run.scores:
        if score.name.kind != "iou":
            values[metric_name(score.name)][describe_identity(score.identity)] = score.value
    rows = [[metric, *(_cell(measured.get(identity)) for identity in labels)] for metric, measured in values.items()]
    return Grid([METRIC, *labels.values()], rows, numbered(list(labels)))


def class_grid(run: Run) -> Grid:
    """The scores of the classes: a row for each class, and columns of IoU, precision, recall and F1 for each identity.

    An evaluation without a confusion matrix, as of an older version, has the IoU alone.
    """
    records = {describe_identity(record.identity): record for record in run.classes}
    columns: dict[str, dict[str, float]] = {}  # by heading, then by class
    for identity, label in identities_of(run).items():
        number = label.rpartition(" ")[2]
        if record := records.get(identity):
            columns["share of pixels"] = _shares(record)
            columns |= {f"{kind} {number}": values for kind, values in class_scores(record).items()}
        elif ious := _ious(run, identity):
            columns[f"IoU {number}"] = ious
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    rows = [[name, *(_cell(column.get(name)) for column in columns.values())] for name in names]
    known = {name: color for record in run.classes for name, color in record.colors.items()}
    return Grid([CLASS, *columns], rows, colors=[known[name] for name in names] if known.keys() >= {*names} else [])


def class_scores(record: ClassRecord) -> dict[str, dict[str, float]]:
    """IoU, precision, recall and F1 of a confusion matrix in 0..1 by class, each by its name; NaN without pixels."""
    kinds = scores_per_class(torch.tensor(record.matrix))
    return {kind: dict(zip(record.palette.class_names, each.tolist(), strict=True)) for kind, each in kinds.items()}


def confusion_grid(record: ClassRecord) -> Grid:
    """The most frequent confusions of an evaluation, by their share of all labelled pixels."""
    names, total = record.palette.class_names, max(1, sum(map(sum, record.matrix)))
    found = [
        (count, true, predicted)
        for true, row in enumerate(record.matrix)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    found = sorted(found, key=lambda each: (-each[0], *each[1:]))[:NUM_CONFUSIONS]
    rows = [
        [names[true], names[predicted], _percent(count / total), _percent(count / sum(record.matrix[true]))]
        for count, true, predicted in found
    ]
    colors = [record.palette.colors[true] for _, true, _ in found]
    return Grid(["true class", "predicted as", "share of all pixels", "share of the class"], rows, colors=colors)


def _shares(record: ClassRecord) -> dict[str, float]:
    total = max(1, sum(map(sum, record.matrix)))
    return {name: sum(row) / total for name, row in zip(record.palette.class_names, record.matrix, strict=True)}


def _ious(run: Run, identity: str) -> dict[str, float]:
    scores = [score for score in run.scores if describe_identity(score.identity) == identity]
    return {score.name.detail: score.value for score in scores if score.name.kind == "iou"}


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _cell(value: float | None) -> str:
    return NOT_MEASURED if value is None or isnan(value) else f"{value:.4f}"
