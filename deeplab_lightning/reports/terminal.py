"""The reports in the terminal."""

from rich.console import Console

from deeplab_lightning.reports.compare import REMARKS, START, STATE, Comparison
from deeplab_lightning.reports.scores import class_grid, confusion_grid, label_of, score_grid
from deeplab_lightning.run_reader import Run

WIDTH = 130  # characters in the widest table


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print a comparison with a paper's table, and its remarks below."""
    grid = comparison.grid().without(REMARKS)
    whole = [heading for heading in grid.headings if heading not in (START, STATE)]
    table = grid.for_terminal(comparison.table.title, no_wrap=whole)
    Console(width=max(console.width, WIDTH)).print(table)
    notes = [comparison.warning, *grid.identities]
    notes += [f"{line.row.name}: {line.status}" for line in comparison.lines if line.submits]
    notes += [f"{line.row.name}: {line.row.all_remarks}" for line in comparison.lines if line.row.all_remarks]
    for note in filter(None, notes):
        print_line(console, note)


def print_run(console: Console, run: Run) -> None:
    """Print the scores of a run, with their identities below."""
    grid = score_grid(run)
    console.print(grid.for_terminal(run.name, right=grid.headings[1:]))
    if (classes := class_grid(run)).rows:
        console.print(classes.for_terminal("by class", right=classes.headings[1:]))
    for record in run.classes:
        if (confusions := confusion_grid(record)).rows:
            title = f"most frequent confusions, {label_of(run, record)}"
            console.print(confusions.for_terminal(title, right=confusions.headings[2:]))
    for identity in grid.identities:
        print_line(console, identity)


def print_line(console: Console, text: str) -> None:
    """Print a text literally and without line breaks, so that it can be copied."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
