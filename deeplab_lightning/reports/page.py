"""The report as one HTML page that works offline, with tables, charts and panels."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from PIL import Image

from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.class_record import ClassRecord
from deeplab_lightning.datasets.pixels import read_pixels
from deeplab_lightning.reports.charts import bars, lines, svg
from deeplab_lightning.reports.compare import REMARKS, START, STATE, Comparison
from deeplab_lightning.reports.gallery import CURVES, IOU, Gallery
from deeplab_lightning.reports.scores import class_grid, confusion_grid, label_of, score_grid
from deeplab_lightning.run_reader import Curve, Run

CHARTS = {
    "training loss": ("train/loss",),
    "validation loss": ("val/loss",),
    "validation scores": ("val/miou", "val/pixel_accuracy", "val/trimap_miou/3"),
}
"""The logged names of the curves in each chart of a training, by the title of the chart."""
LEARNING_RATE = "lr-"  # the prefix of the logged learning rate of each optimizer and parameter group
SHOWN_CLASSES = 40  # a larger confusion matrix cannot be read as a table
PANEL_WIDTH, PANEL_QUALITY = 960, 85  # pixels and JPEG quality; a table may have many panels


def render(runs: Sequence[Run], tables: Sequence[tuple[Comparison, Gallery]] = ()) -> str:
    """The page as HTML, with a section for each run and each table.

    Args:
        runs: The runs to show.
        tables: The comparisons with the papers' tables, each with its gallery.
    """
    environment = Environment(loader=PackageLoader("deeplab_lightning.reports", "."), autoescape=True)
    template = environment.get_template("report.html.jinja")
    sections = [_run_section(run) for run in runs]
    return template.render(runs=sections, tables=[_table_section(*table) for table in tables])


def write(path: Path, runs: Sequence[Run], tables: Sequence[tuple[Comparison, Gallery]] = ()) -> None:
    """Write the page that `render` returns."""
    write_atomically(path, render(runs, tables))


def _run_section(run: Run) -> dict[str, Any]:
    return {
        "name": run.name,
        "grid": score_grid(run),
        "classes": class_grid(run),
        "confusions": [_confusion_section(run, record) for record in run.classes],
        "charts": _charts(run.curves),
        "faults": run.faults,
        "panels": [(path.stem, b64encode(path.read_bytes()).decode()) for path in run.panels],
    }


def _confusion_section(run: Run, record: ClassRecord) -> dict[str, Any]:
    """A confusion matrix as a table of percentages of each class's pixels, and the list of its largest entries."""
    names = record.palette.class_names if len(record.palette.class_names) <= SHOWN_CLASSES else ()
    rows = zip(names, record.palette.colors, record.matrix, strict=False)
    return {
        "label": label_of(run, record),
        "names": names,
        "rows": [(name, color, [count / max(1, sum(counts)) for count in counts]) for name, color, counts in rows],
        "grid": confusion_grid(record),
    }


def _charts(curves: Mapping[str, Curve]) -> list[str]:
    """The curves of a training as SVG charts."""
    rates = [name for name in curves if name.startswith(LEARNING_RATE)]
    pictures = []
    for title, names in (CHARTS | {"learning rate": tuple(rates[:1])}).items():
        if drawn := {name: [curves[name]] for name in names if name in curves}:
            pictures.append(svg(lines(title, drawn)))
    return pictures


def _table_section(comparison: Comparison, gallery: Gallery) -> dict[str, Any]:
    drawn = [lines(title, gallery.curves[name]) for name, title in CURVES.items() if gallery.curves[name]]
    if gallery.trimaps:
        curves = {name: [curve] for name, curve in gallery.trimaps.items()}
        drawn.append(lines("mIoU near the boundaries", curves, "trimap width (pixels)"))
    return {
        "title": comparison.table.title,
        "warning": comparison.warning,
        "grid": comparison.grid(),
        "texts": (START, STATE, REMARKS),
        "bars": svg(bars(gallery.ious, gallery.colors)) if gallery.ious else "",
        "classes": {kind: grid for kind, grid in gallery.class_grids().items() if kind != IOU},
        "charts": [svg(figure) for figure in drawn],
        "faults": gallery.faults,
        "panels": [(image_id, row, _reduced(path)) for image_id, rows in gallery.panels.items() for row, path in rows],
    }


def _reduced(path: Path) -> str:
    """A picture, at most `PANEL_WIDTH` pixels wide, as a JPEG in base64."""
    picture = Image.fromarray(read_pixels(path))
    picture.thumbnail((PANEL_WIDTH, picture.height))
    file = BytesIO()
    picture.save(file, "JPEG", quality=PANEL_QUALITY)
    return b64encode(file.getvalue()).decode()
