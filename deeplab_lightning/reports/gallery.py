"""The data for the pictures in the report of a table: scores by class, curves, trimap curves and panels."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from statistics import mean

from deeplab_lightning.ablation.job import rows_name
from deeplab_lightning.ablation.older import chosen_evaluation, chosen_keys
from deeplab_lightning.ablation.outcomes import Outcomes
from deeplab_lightning.ablation.plan import Plan, Training
from deeplab_lightning.palette import Color
from deeplab_lightning.reports.grid import Grid
from deeplab_lightning.reports.scores import CLASS, class_scores
from deeplab_lightning.run_folder import TRIMAP_CURVE, JobFolder, JobKey
from deeplab_lightning.run_reader import Curve, Run, read_logs
from deeplab_lightning.scores import ScoreName

CURVES = {"train/loss": "training loss", "val/miou": "validation mIoU"}
"""The titles of the curves in a report, by logged name."""
IOU = "IoU"
PANEL_IMAGES = 2

Scores = dict[ScoreName, float]


@dataclass
class Gallery:
    """The data for all pictures of a table. Rows without a run or without records are left out.

    Args:
        ious: The mean IoU over the seeds of each class in 0..1, by row.
        more: The mean precision, recall and F1 likewise, by the name of the score and by row, from confusion matrices.
        colors: The colours of the classes, from confusion matrices.
        curves: The curves, one for each seed, by logged name and by the rows that share the training.
        trimaps: The mean mIoU over the seeds as a curve over the band's width in pixels, by row, without and with CRF.
        panels: The pictures of the first seed that has any, as (row, path) pairs by image.
        faults: A sentence for each file that cannot be read.
    """

    ious: dict[str, dict[str, float]] = field(default_factory=dict)
    more: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    colors: dict[str, Color] = field(default_factory=dict)
    curves: dict[str, dict[str, list[Curve]]] = field(default_factory=lambda: {name: {} for name in CURVES})
    trimaps: dict[str, Curve] = field(default_factory=dict)
    panels: dict[str, list[tuple[str, Path]]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def class_grids(self) -> dict[str, Grid]:
        """A grid in percent for each kind of score, by its name, with a row for each class."""
        kinds = {IOU: self.ious} | self.more if self.ious else self.more
        names = list(dict.fromkeys(name for rows in kinds.values() for each in rows.values() for name in each))
        colors = [self.colors[name] for name in names] if self.colors.keys() >= {*names} else []
        grids = {}
        for kind, rows in kinds.items():
            cells = [
                [name, *(f"{100 * each[name]:.2f}" if name in each else "" for each in rows.values())] for name in names
            ]
            grids[kind] = Grid([CLASS, *rows], cells, colors=colors)
        return grids


def gather(plan: Plan, outcomes: Outcomes, root: Path | None) -> Gallery:
    """Gather the data for the pictures from the outcomes of a plan's jobs.

    Args:
        plan: The plan of the rows.
        outcomes: The outcomes, which hold the scores.
        root: The folder of all jobs, which holds curves and panels; None where the outcomes were read from W&B.
    """
    gallery = Gallery()
    shown: set[JobKey] = set()  # rows may share a training or an evaluation, whose pictures are shown once
    for planned in plan.rows_once():
        if planned.training is None:
            continue
        keys = list(chosen_keys(planned.training, outcomes).values())
        if planned.training.key not in shown:
            shown.add(planned.training.key)
            _add_curves(gallery, planned.training, _read(root, keys))
        if planned.evaluation is None:
            continue
        evaluations = [chosen_evaluation(key, planned.evaluation, outcomes) for key in keys]
        scores = _mean_scores(evaluations, outcomes)
        runs = _read(root, evaluations)
        if ious := _ious(scores, planned.row.metric):
            gallery.ious[planned.row.name] = ious
        _add_classes(gallery, planned.row.name, planned.row.metric, runs)
        evaluation = JobKey(planned.training.name, planned.evaluation.digest)
        if evaluation not in shown:
            shown.add(evaluation)
            _add_trimaps(gallery, planned.row.name, planned.row.metric.split, scores)
            _add_panels(gallery, planned.row.name, runs)
    return gallery


def _read(root: Path | None, keys: Iterable[JobKey]) -> list[Run]:
    return [] if root is None else [read_logs(JobFolder.of(root, key).path) for key in keys]


def _mean_scores(keys: Iterable[JobKey], outcomes: Outcomes) -> Scores:
    """The mean of each score over evaluations. Unfinished evaluations have no scores."""
    values: dict[ScoreName, list[float]] = defaultdict(list)
    for key in keys:
        for score in outcomes[key].scores if key in outcomes else ():
            values[score.name].append(score.value)
    return {name: mean(each) for name, each in values.items()}


def _ious(scores: Scores, metric: ScoreName) -> dict[str, float]:
    """The IoU of each class that belongs to a metric: on the same split, and with or without CRF like the metric."""
    return {
        name.detail: value
        for name, value in scores.items()
        if name.kind == "iou" and (name.split, name.refined) == (metric.split, metric.refined)
    }


def _add_classes(gallery: Gallery, row: str, metric: ScoreName, runs: Sequence[Run]) -> None:
    """Add the scores of confusion matrices other than the IoU, which has a record of its own, and the colours."""
    records = [
        record
        for run in runs
        for record in run.classes
        if (record.identity["split"], bool(record.identity["crf"])) == (metric.split, metric.refined)
    ]
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))  # by kind and class
    for record in records:
        gallery.colors |= record.colors
        for kind, scores in class_scores(record).items():
            for name, value in scores.items():
                if kind != IOU and not isnan(value):
                    values[kind][name].append(value)
    for kind, by_name in values.items():
        gallery.more.setdefault(kind, {})[row] = {name: mean(each) for name, each in by_name.items()}


def _add_curves(gallery: Gallery, training: Training, runs: Sequence[Run]) -> None:
    gallery.faults += [fault for run in runs for fault in run.faults]
    for name, by_rows in gallery.curves.items():
        if found := [run.curves[name] for run in runs if name in run.curves]:
            by_rows[rows_name(training.rows)] = found


def _add_trimaps(gallery: Gallery, row: str, split: str, scores: Scores) -> None:
    for refined, how in ((False, "without CRF"), (True, "with CRF")):
        bands = sorted(
            (float(name.width), value)
            for name, value in scores.items()
            if name.kind == "trimap_miou" and (name.split, name.refined) == (split, refined)
        )
        if len(bands) > 1:  # every evaluation scores one band, which makes no curve
            gallery.trimaps[f"{row}, {how}"] = bands


def _add_panels(gallery: Gallery, row: str, runs: Sequence[Run]) -> None:
    gallery.faults += [fault for run in runs for fault in run.faults]
    pictures = next((run.panels for run in runs if run.panels), [])
    for path in [path for path in pictures if path.name != TRIMAP_CURVE][:PANEL_IMAGES]:
        gallery.panels.setdefault(path.stem, []).append((row, path))
