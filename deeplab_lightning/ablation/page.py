"""The report as one HTML page that needs no network: tables, curves, panels."""

from base64 import b64encode
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from jinja2 import Environment, PackageLoader
from matplotlib.figure import Figure

from deeplab_lightning.ablation.compare import Comparison
from deeplab_lightning.ablation.report import Curve, Run, tabulate

CHARTS = (
    ("training loss", ("train/loss",)),
    ("validation loss", ("val/loss",)),
    ("validation scores", ("val/miou", "val/pixel_accuracy", "val/trimap_miou/3")),
    ("learning rate", ()),
)


def render(runs: list[Run], comparisons: Sequence[Comparison] = ()) -> str:
    """The page for these runs, or tables of the papers, as HTML."""
    environment = Environment(loader=PackageLoader("deeplab_lightning.ablation", "."), autoescape=True)
    sections = [
        {
            "name": run.name,
            "table": tabulate(run),
            "charts": charts(run.curves),
            "panels": [(path.stem, b64encode(path.read_bytes()).decode()) for path in run.panels],
        }
        for run in runs
    ]
    return environment.get_template("report.html.jinja").render(runs=sections, comparisons=comparisons)


def write(runs: list[Run], path: Path, comparisons: Sequence[Comparison] = ()) -> None:
    """Write the page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(runs, comparisons))


def charts(curves: dict[str, Curve]) -> list[str]:
    """SVG pictures of what was logged during training."""
    learning_rate = tuple(name for name in curves if name.startswith("lr-"))[:1]
    pictures = []
    for title, names in CHARTS:
        drawn = {name: curves[name] for name in names or learning_rate if name in curves}
        if drawn:
            pictures.append(_chart(title, drawn))
    return pictures


def _chart(title: str, curves: dict[str, Curve]) -> str:
    figure = Figure(figsize=(4.6, 2.8), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        steps, values = zip(*points, strict=True)
        axes.plot(steps, values, marker="o" if len(points) < 30 else None, markersize=3, label=name)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("step", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    if len(curves) > 1:
        axes.legend(fontsize=8)
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue().partition("<svg")[1] + text.getvalue().partition("<svg")[2]
