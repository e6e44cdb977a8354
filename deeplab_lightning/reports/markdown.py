"""The reports in markdown."""

from collections.abc import Sequence

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
    grids = {f"{kind} by class, in percent": grid for kind, grid in gallery.class_grids().items()}
    if gallery.trimaps:
        grids["mIoU near the boundaries, in percent, by the width of the band in pixels"] = _bands(gallery)
    return "".join(f"\n{title}:\n\n{grid.as_markdown()}" for title, grid in grids.items())


def _bands(gallery: Gallery) -> Grid:
    curves = [(row, dict(curve)) for row, curve in gallery.trimaps.items()]
    widths = [width for width in WIDTHS if any(width in curve for _, curve in curves)]
    rows = [
        [row, *(f"{100 * curve[width]:.2f}" if width in curve else "" for width in widths)] for row, curve in curves
    ]
    return Grid([ROW, *map(str, widths)], rows)


def list_of_tables(plans: Sequence[Plan]) -> str:
    """The list of all tables with their files and sizes, for experiments/README.md."""
    lines = ["| table | file | rows | trainings |", "|---|---|---|---|"]
    for plan in plans:
        rows = sum(row.stage is None for row in plan.table.rows)
        name = f"ablations/{plan.table.path.name}"
        lines.append(f"| {plan.table.title} | [{name}]({name}) | {rows} | {len(plan.trainings)} |")
    return "\n".join(lines) + "\n"
