"""The report as one HTML page that needs no network: tables, charts, panels."""

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from deeplab_lightning.ablation.charts import bars, lines, svg
from deeplab_lightning.ablation.compare import Comparison
from deeplab_lightning.ablation.gallery import CURVES, Gallery
from deeplab_lightning.ablation.report import Curve, Run, tabulate
from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.datasets.images import read_image

CHARTS = (
    ("training loss", ("train/loss",)),
    ("validation loss", ("val/loss",)),
    ("validation scores", ("val/miou", "val/pixel_accuracy", "val/trimap_miou/3")),
    ("learning rate", ()),
)
PANEL_WIDTH, PANEL_QUALITY = 720, 85  # of the many panels of a table: pixels, and JPEG's quality


def render(runs: list[Run], tables: Sequence[tuple[Comparison, Gallery]] = ()) -> str:
    """The page for these runs, or tables of the papers with what their runs show, as HTML; each is a section."""
    environment = Environment(loader=PackageLoader("deeplab_lightning.ablation", "."), autoescape=True)
    sections = [
        {
            "name": run.name,
            "table": tabulate(run),
            "charts": charts(run.curves),
            "faults": run.faults,
            "panels": [(path.stem, b64encode(path.read_bytes()).decode()) for path in run.panels],
        }
        for run in runs
    ]
    pictured = [{"comparison": comparison} | _pictures(gallery) for comparison, gallery in tables]
    return environment.get_template("report.html.jinja").render(runs=sections, tables=pictured)


def write(runs: list[Run], path: Path, tables: Sequence[tuple[Comparison, Gallery]] = ()) -> None:
    """Write the page; see `render`."""
    write_atomically(path, render(runs, tables))


def charts(curves: dict[str, Curve]) -> list[str]:
    """SVG pictures of what was logged during training."""
    learning_rate = tuple(name for name in curves if name.startswith("lr-"))[:1]
    pictures = []
    for title, names in CHARTS:
        drawn = {name: [curves[name]] for name in names or learning_rate if name in curves}
        if drawn:
            pictures.append(svg(lines(title, drawn)))
    return pictures


def _pictures(gallery: Gallery) -> dict[str, Any]:
    """Charts and panels of a table's runs."""
    drawn = [lines(title, gallery.curves[name]) for name, title in CURVES.items() if gallery.curves[name]]
    if gallery.trimaps:
        curves = {name: [curve] for name, curve in gallery.trimaps.items()}
        drawn.append(lines("mIoU near the boundaries", curves, "trimap width (pixels)"))
    return {
        "bars": svg(bars(gallery.ious)) if gallery.ious else "",
        "charts": [svg(figure) for figure in drawn],
        "faults": gallery.faults,
        "panels": [(image_id, row, _reduced(path)) for image_id, rows in gallery.panels.items() for row, path in rows],
    }


def _reduced(path: Path) -> str:
    """A picture no wider than `PANEL_WIDTH`, as a JPEG in base64."""
    picture = read_image(path)
    picture.thumbnail((PANEL_WIDTH, picture.height))
    file = BytesIO()
    picture.save(file, "JPEG", quality=PANEL_QUALITY)
    return b64encode(file.getvalue()).decode()
