"""`deeplab report`: runs in one table in the terminal and in one HTML page."""

import json
from argparse import ArgumentParser
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from deeplab_lightning.ablation.report import Run, read_run, tabulate


def run(command: str, options: list[str]) -> int:
    """Read the run folders, print, and write the page."""
    parser = ArgumentParser(
        prog=f"deeplab {command}",
        description="One table and one HTML page of what runs left behind; every number with how it was measured.",
    )
    parser.add_argument(
        "run_dir", nargs="+", type=Path, help="run folder: the trainer.default_root_dir of its commands"
    )
    parser.add_argument(
        "--json", action="store_true", help="print a list of {run, split, metric, value, identity} instead"
    )
    parser.add_argument(
        "--output", type=Path, help="the page; default: report.html in the run folder, in this folder for several runs"
    )
    arguments = parser.parse_args(options)
    runs = [read_run(folder) for folder in arguments.run_dir]
    if arguments.json:
        print(json.dumps([record for each in runs for record in each.records], indent=1))
        return 0
    from deeplab_lightning.ablation import page

    output = arguments.output or (arguments.run_dir[0] if len(runs) == 1 else Path()) / "report.html"
    page.write(runs, output)
    console = Console()
    for each in runs:
        _print(console, each)
    console.print(f"wrote {output}")
    return 0


def _print(console: Console, run: Run) -> None:
    table = tabulate(run)
    grid = RichTable(title=run.name, title_justify="left")
    grid.add_column("metric")
    for column in table.columns:
        grid.add_column(column.replace("[", "\\["), justify="right")
    for name, values in table.rows:
        grid.add_row(name, *("-" if value is None else f"{value:.4f}" for value in values))
    console.print(grid)
    for identity in table.identities:
        console.print(identity, markup=False, highlight=False, soft_wrap=True)
