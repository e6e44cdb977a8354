"""The reports in markdown."""

from collections.abc import Mapping, Sequence

from deeplab_lightning.ablation.plan import Plan
from deeplab_lightning.reports.compare import ROW, Comparison
from deeplab_lightning.reports.gallery import Gallery
from deeplab_lightning.reports.grid import Grid, inline

WIDTHS = (1, 2, 3, 5, 10, 20, 40)  # widths of the trimap bands in a table; a curve has more


def comparison_section(comparison: Comparison) -> str:
    """The section of a markdown file for a comparison."""
    grid = comparison.grid()
    lines = [f"## {inline(comparison.table.title)}", ""]
    if comparison.warning:
        lines += [comparison.warning, ""]
    lines += [f"{comparison.table.path.name}, in percent.", "", grid.as_markdown()]
    lines += [f"- {identity}" for identity in grid.identities]
    return "\n".join(lines).rstrip("\n") + "\n"


def gallery_numbers(gallery: Gallery) -> str:
    """The tables of the numbers in a gallery, which end the section; empty where there are none."""
    bands = {
        row: {f"{width:g}": value for width, value in curve if width in WIDTHS}
        for row, curve in gallery.trimaps.items()
    }
    parts = {
        "IoU by class, in percent": gallery.ious,
        "mIoU near the boundaries, in percent, by the width of the band in pixels": bands,
    }
    return "".join(f"\n{title}:\n\n{_percentages(scores)}" for title, scores in parts.items() if scores)


def _percentages(scores: Mapping[str, Mapping[str, float]]) -> str:
    """A table of scores in percent, from scores in 0..1 by row and by column."""
    names = list(dict.fromkeys(name for each in scores.values() for name in each))
    rows = [
        [row, *(f"{100 * each[name]:.2f}" if name in each else "" for name in names)] for row, each in scores.items()
    ]
    return Grid([ROW, *names], rows).as_markdown()


def list_of_tables(plans: Sequence[Plan]) -> str:
    """The list of all tables with their files and sizes, for experiments/README.md."""
    lines = ["| table | file | rows | trainings |", "|---|---|---|---|"]
    for plan in plans:
        rows = sum(row.stage is None for row in plan.table.rows)
        name = f"ablations/{plan.table.path.name}"
        lines.append(f"| {plan.table.title} | [{name}]({name}) | {rows} | {len(plan.trainings)} |")
    return "\n".join(lines) + "\n"
