"""The scores of one run as a grid: a row for each metric, a column for each evaluation identity."""

from collections import defaultdict

from deeplab_lightning.identity import Record, describe_identity
from deeplab_lightning.reports.grid import Grid, mark, numbered
from deeplab_lightning.run_reader import Run
from deeplab_lightning.scores import ScoreName

METRIC = "metric"
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


def score_grid(run: Run) -> Grid:
    """The scores of a run as a grid."""
    labels: dict[str, str] = {}  # by identity
    values: dict[str, dict[str, float]] = defaultdict(dict)  # by metric and identity
    for score in run.scores:
        identity = describe_identity(score.identity)
        labels.setdefault(identity, short_label(score.identity))
        values[metric_name(score.name)][identity] = score.value
    headings = [METRIC, *(f"{label} {mark(number)}" for number, label in enumerate(labels.values(), 1))]
    rows = [[metric, *(_cell(measured.get(identity)) for identity in labels)] for metric, measured in values.items()]
    return Grid(headings, rows, numbered(list(labels)))


def _cell(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.4f}"
