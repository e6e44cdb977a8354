"""What the runs of a table show beside its numbers: IoU by class, curves, trimap curves, panels."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from deeplab_lightning.ablation.compare import markdown_table
from deeplab_lightning.ablation.outcomes import Outcome, Outcomes, chosen_evaluation, chosen_keys
from deeplab_lightning.ablation.plan import plan_table
from deeplab_lightning.ablation.report import Curve, Run, read_logs
from deeplab_lightning.ablation.runner import rows_name
from deeplab_lightning.ablation.table import Table
from deeplab_lightning.run_folder import TRIMAP_CURVE

CURVES = {"train/loss": "training loss", "val/miou": "validation mIoU"}
PANEL_IMAGES = 2
WIDTHS = (1, 2, 3, 5, 10, 20, 40)  # of the trimap bands that a table shows; a curve shows all

Scores = dict[str, float]
"""Values by logged name."""


@dataclass
class Gallery:
    """What there is to see of a table; what was not run or recorded is left out.

    Args:
        ious: of each class in 0..1, by row, the mean over the seeds.
        curves: one a seed, by logged name and by the rows that share the training.
        trimaps: mIoU over the width of the band in pixels, the mean over the seeds, by row, without and with CRF.
        panels: one a row, by image: (row, picture of the first seed).
        faults: what could not be read, a sentence each.
    """

    ious: dict[str, Scores] = field(default_factory=dict)
    curves: dict[str, dict[str, list[Curve]]] = field(default_factory=lambda: {name: {} for name in CURVES})
    trimaps: dict[str, Curve] = field(default_factory=dict)
    panels: dict[str, list[tuple[str, Path]]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """What of it is numbers, as the end of a section of a markdown page."""
        bands = {
            row: {f"{width:g}": value for width, value in curve if width in WIDTHS}
            for row, curve in self.trimaps.items()
        }
        parts = {
            "IoU by class, in percent": self.ious,
            "mIoU near the boundaries, in percent, by the width of the band in pixels": bands,
        }
        return "".join(f"\n{title}:\n\n{_percentages(scores)}" for title, scores in parts.items() if scores)


def _percentages(scores: dict[str, Scores]) -> str:
    names = list(dict.fromkeys(name for each in scores.values() for name in each))
    lines = [
        [row, *(f"{100 * each[name]:.2f}" if name in each else "" for name in names)] for row, each in scores.items()
    ]
    return markdown_table([["row", *names], *lines])


def gather(table: Table, scale: str, outcomes: Outcomes, root: Path | None) -> Gallery:
    """Gather it from the outcomes of a table's runs, curves and panels from their folder where there is one."""
    gallery = Gallery()
    seen: set[tuple[str, ...]] = set()  # trainings, and evaluations: rows may share one and differ in what they take
    for planned in plan_table(table, scale).rows:
        if planned.training is None:
            continue
        keys = [*chosen_keys(planned.training, outcomes).values()]
        if (planned.training.name,) not in seen:
            seen.add((planned.training.name,))
            if root is not None:
                _add_curves(gallery, rows_name(planned.training.rows), [read_logs(root / key) for key in keys])
        if planned.evaluation is None:
            continue
        scored = [chosen_evaluation(key, planned.evaluation, outcomes) for key in keys]
        scores = _mean_scores([outcomes[key] for key in scored if key in outcomes])
        split, kind, *_ = planned.row.metric.split("/")
        suffix = "_crf" if kind.endswith("_crf") else ""
        if ious := _detail(scores, f"{split}/iou{suffix}/"):
            gallery.ious[planned.row.name] = ious
        if (planned.training.name, planned.evaluation.digest) not in seen:
            seen.add((planned.training.name, planned.evaluation.digest))
            _add_trimaps(gallery, planned.row.name, split, scores)
            if root is not None:
                _add_panels(gallery, planned.row.name, [root / key for key in scored])
    return gallery


def _mean_scores(scored: Iterable[Outcome]) -> Scores:
    """The mean over evaluations of each score; what is unfinished has none."""
    values: dict[str, list[float]] = defaultdict(list)
    for outcome in scored:
        for record in outcome.records:
            values[record["metric"]].append(record["value"])
    return {name: mean(each) for name, each in values.items()}


def _add_curves(gallery: Gallery, rows: str, runs: list[Run]) -> None:
    gallery.faults += [fault for run in runs for fault in run.faults]
    for name, by_rows in gallery.curves.items():
        if found := [run.curves[name] for run in runs if name in run.curves]:
            by_rows[rows] = found


def _detail(scores: Scores, prefix: str) -> Scores:
    return {name.removeprefix(prefix): value for name, value in scores.items() if name.startswith(prefix)}


def _add_trimaps(gallery: Gallery, row: str, split: str, scores: Scores) -> None:
    for suffix, name in (("", f"{row}, without CRF"), ("_crf", f"{row}, with CRF")):
        bands = _detail(scores, f"{split}/trimap_miou{suffix}/")
        if len(bands) > 1:  # one band is in the scores of every evaluation
            gallery.trimaps[name] = sorted((float(width), value) for width, value in bands.items())


def _add_panels(gallery: Gallery, row: str, folders: list[Path]) -> None:
    runs = [read_logs(folder) for folder in folders]
    gallery.faults += [fault for run in runs for fault in run.faults]
    pictures = next((run.panels for run in runs if run.panels), [])
    for path in [path for path in pictures if path.name != TRIMAP_CURVE][:PANEL_IMAGES]:
        gallery.panels.setdefault(path.stem, []).append((row, path))
