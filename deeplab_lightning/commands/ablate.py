"""`deeplab ablate`: train and score the rows of tables, as far as it is not done yet."""

import json
import shlex
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable

from deeplab_lightning.ablation.compare import compare, print_comparison
from deeplab_lightning.ablation.plan import SCALES, Plan, check_scale, plan_table
from deeplab_lightning.ablation.runner import DONE, RUNS, Work, run_plan, work_of
from deeplab_lightning.ablation.table import Table, TableError, read_table

EPILOG = """Rows that train alike share one training, also across tables; rows that differ in how they are scored share
its checkpoint. What is done is found again by the hash of its settings, so the same command goes on after an interrupt,
and again tries what failed. `deeplab report` with the same files prints the tables at any time."""


def run(command: str, options: list[str]) -> int:
    """Plan, run or print, and show the tables; status 1 when something failed."""
    arguments = _parse(command, options)
    seeds = sorted(set(arguments.seeds))
    tables = [read_table(path) for path in arguments.table]
    for table in tables:
        check_scale(table, arguments.scale)
    plans = [plan_table(table, arguments.scale, seeds, _names(table, tables, arguments.rows)) for table in tables]
    root = arguments.runs / arguments.scale
    if arguments.json:
        for plan in plans:
            print(json.dumps(as_dict(plan, root)))
        return 0
    if arguments.dry_run:
        for plan in plans:
            print_plan(Console(), plan, root)
        return 0
    failed = _run(plans, root)
    for plan in plans:
        names = dict.fromkeys(planned.row.name for planned in plan.rows)
        print_comparison(Console(), compare(plan.table, arguments.scale, root, names))
    return 1 if failed else 0


def _parse(command: str, options: list[str]) -> Namespace:
    parser = ArgumentParser(
        prog=f"deeplab {command}",
        description="Train and score the rows of tables of the papers, one file a table.",
        epilog=EPILOG,
    )
    parser.add_argument("table", nargs="+", type=Path, help="such as experiments/ablations/deeplab_v3_table3.yaml")
    parser.add_argument("--rows", type=_words, help="only these, by name: a,b; default: all")
    parser.add_argument("--seeds", type=_numbers, default=[0], help="train every row with each: 0,1,2; default: 0")
    parser.add_argument(
        "--scale",
        choices=SCALES,
        default="paper",
        help="paper: as published; camvid: on CamVid; smoke: a few steps on generated Shapes; default: paper",
    )
    parser.add_argument("--runs", type=Path, default=RUNS, help=f"where runs are kept, by scale; default: {RUNS}")
    parser.add_argument("--dry-run", action="store_true", help="print what would run, and what it shares and costs")
    parser.add_argument("--json", action="store_true", help="with --dry-run: one JSON object a table, one a line")
    arguments = parser.parse_args(options)
    if arguments.json and not arguments.dry_run:
        parser.error("--json goes with --dry-run; `deeplab report --json` prints what was measured")
    return arguments


def _words(text: str) -> list[str]:
    return text.split(",")


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _names(table: Table, tables: list[Table], names: list[str] | None) -> list[str] | None:
    """Those of the names that are rows of a table; every name must be a row of some table."""
    if names is None:
        return None
    known = {row.name for each in tables for row in each.rows}
    if unknown := [name for name in names if name not in known]:
        raise TableError(f"there is no row {unknown[0]!r} in {', '.join(str(each.path) for each in tables)}")
    return [row.name for row in table.rows if row.name in names]


def as_dict(plan: Plan, root: Path) -> dict[str, Any]:
    """A plan ready for JSON."""
    rows = [
        {
            "name": planned.row.name,
            "paper": planned.row.paper,
            "run": planned.training and planned.training.name,
            "seed": planned.training and planned.seed,
            "evaluate": planned.evaluation and planned.evaluation.settings,
        }
        for planned in plan.rows
    ]
    runs = [
        {
            "run": training.name,
            "rows": training.rows,
            "start_from": training.source and training.source.name,
            "cost": training.cost,
            "replaced": training.replaced,
            "done": (root / training.name / DONE).is_file(),
            "commands": [["deeplab", *work.options(root)] for work in work_of(plan) if work.training is training],
            "config": training.config,
        }
        for training in plan.trainings
    ]
    return {"table": str(plan.table.path), "rows": rows, "runs": runs}


def print_plan(console: Console, plan: Plan, root: Path) -> None:
    """Show the trainings of a plan, what shares them, what they cost, and their commands."""
    grid = RichTable("run", "rows", "starts from", "cost", "evaluations", "state", title=plan.table.title)
    for training in plan.trainings:
        state = "done" if (root / training.name / DONE).is_file() else "to do"
        source = "" if training.source is None else training.source.name
        cells = (training.name, ", ".join(training.rows), source, training.cost, str(len(training.evaluations)), state)
        grid.add_row(*(cell.replace("[", "\\[") for cell in cells))
    console.print(grid)
    references = [planned.row.name for planned in plan.rows if planned.training is None]
    if references:
        text = f"references, nothing to run: {', '.join(references)}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    for training in plan.trainings:
        for row, replaced in training.replaced.items():
            text = f"scale {plan.scale} sets aside {', '.join(replaced)} of {row}"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
    for work in work_of(plan):
        console.print(shlex.join(["deeplab", *work.options(root)]), markup=False, highlight=False, soft_wrap=True)


def _run(plans: list[Plan], root: Path) -> int:
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=sum(len(work_of(plan)) for plan in plans))

        def tell(work: Work, what: str) -> None:
            kind = "training" if work.evaluation is None else "evaluation"
            title = f"{work.training.group}: {kind} of {work.training.rows_name}, seed {work.training.seed}"
            if what == "starts":
                progress.update(bar, description=title.replace("[", "\\["))
                return
            progress.advance(bar)
            if what not in ("done", "was done"):
                place = f"{title} failed; {work.folder(root)}:"
                console.print(place, markup=False, highlight=False, soft_wrap=True)
                console.print(what, markup=False, highlight=False, soft_wrap=True)

        return sum(run_plan(plan, root, tell) for plan in plans)
