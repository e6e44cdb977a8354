"""`deeplab ablate`: train and score the rows of tables, as far as it is not done yet."""

import json
import shlex
from argparse import ArgumentTypeError, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable

from deeplab_lightning.ablation.chains import commands_of, write_sweep
from deeplab_lightning.ablation.compare import compare, print_comparison
from deeplab_lightning.ablation.devices import split_devices
from deeplab_lightning.ablation.older import find_older
from deeplab_lightning.ablation.outcomes import read_folder
from deeplab_lightning.ablation.plan import SCALES, Plan, check_scale, plan_table
from deeplab_lightning.ablation.runner import RUNS, Share, Work, is_done, run_works, work_of
from deeplab_lightning.ablation.table import Table, TableError, read_table, table_files
from deeplab_lightning.usage import Parser

EPILOG = """Rows that train alike share one training, also across tables; rows that differ in how they are scored share
its checkpoint. What is done is found again by the hash of its settings and of the code's defaults, so the same command
goes on after an interrupt, and again tries what failed; where code has changed since, --older decides. `deeplab report`
with the same files prints the tables at any time."""

NONE: Mapping[str, str] = MappingProxyType({})
TABLES_OWN = {"asked", "group", "name", "paper", "protocol", "tags", "work"}
"""Settings of W&B by which a report finds the runs of a table."""


def run(command: str, options: list[str]) -> int:
    """Plan, then print, hand over or run and show the tables; status 1 when something failed."""
    arguments = _parse(command, options)
    tables = [read_table(file) for path in arguments.table for file in table_files(path) or [path]]
    for table in tables:
        check_scale(table, arguments.scale)
    plans = []
    for table in tables:
        names = _names(table, tables, arguments.rows)
        if names != []:
            seeds = sorted(set(arguments.seeds))
            plans.append(plan_table(table, arguments.scale, seeds, names, arguments.wandb))
    root = arguments.runs / arguments.scale
    older = {} if arguments.older == "rerun" else find_older(plans, read_folder(root), arguments.older == "accept")
    if arguments.dry_run:
        for plan in plans:
            if arguments.json:
                print(json.dumps(as_dict(plan, root, older)))
            else:
                print_plan(Console(), plan, root, older)
        return 0
    if arguments.launcher in HAND_OVER:
        return HAND_OVER[arguments.launcher](plans, arguments)
    failed = _run(plans, root, older, split_devices(arguments.jobs) if arguments.launcher == "local" else [{}])
    for plan in plans:
        names = list(dict.fromkeys(planned.row.name for planned in plan.rows))
        print_comparison(Console(), compare(plan.table, arguments.scale, root, names))
    return 1 if failed else 0


def _parse(command: str, options: list[str]) -> Namespace:
    parser = Parser(
        prog=f"deeplab {command}",
        description="Train and score the rows of tables of the papers, one file a table.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "table",
        nargs="+",
        type=Path,
        help="files such as experiments/ablations/deeplab_v3_table3.yaml, or folders of them",
    )
    parser.add_argument(
        "--rows", type=_words, help="only these: a,b, or of one of several tables table3/a; default: all"
    )
    parser.add_argument("--seeds", type=_numbers, default=[0], help="train every row with each: 0,1,2; default: 0")
    parser.add_argument(
        "--scale",
        choices=SCALES,
        default="paper",
        help="paper: as published; camvid: on CamVid; smoke: a few steps on generated Shapes; default: paper",
    )
    parser.add_argument("--runs", type=Path, default=RUNS, help=f"where runs are kept, by scale; default: {RUNS}")
    parser.add_argument(
        "--older",
        choices=("accept", "rerun"),
        help="of what was done before defaults, or the meaning of settings, changed: take it, or do it again; default: "
        "say what it is, and leave it and what needs it",
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would run, and what it shares and costs")
    parser.add_argument("--json", action="store_true", help="with --dry-run: one JSON object a table, one a line")
    _add_launchers(parser)
    arguments = parser.parse_args(options)
    if arguments.json and not arguments.dry_run:
        parser.error("--json goes with --dry-run; `deeplab report --json` prints what was measured")
    if arguments.launcher and arguments.dry_run:
        parser.error("--dry-run prints what would run, on whatever it runs; leave out --launcher")
    if arguments.jobs is not None and (arguments.launcher != "local" or arguments.jobs < 1):
        parser.error(f"--jobs goes with --launcher local and is at least 1, got {arguments.jobs}")
    if bool(arguments.slurm) != (arguments.launcher == "slurm"):
        parser.error("--launcher slurm and --slurm SETTINGS go together")
    if own := sorted(TABLES_OWN & set(arguments.wandb or {})):
        parser.error(f"--wandb cannot set {', '.join(own)}: the table does, and its report finds the runs by them")
    if arguments.slurm and not isinstance(arguments.slurm.get("time"), int):
        parser.error(f"--slurm needs time, in minutes, such as time=720; got {arguments.slurm.get('time')}")
    return arguments


def _add_launchers(parser: Parser) -> None:
    parser.add_argument(
        "--launcher",
        choices=("local", "slurm", "wandb"),
        help="local: several at a time, each on its share of this machine's devices; slurm: an array job, a task for "
        "the rows that share trainings; wandb: a sweep file, whose agents on many machines run them; default: one "
        "after the other on all devices",
    )
    parser.add_argument("--jobs", type=int, help="of --launcher local: how many at a time; default: one for each GPU")
    parser.add_argument(
        "--slurm",
        type=_settings,
        metavar="KEY=VALUE,...",
        help="of --launcher slurm, by submitit's names: partition=gpu,time=720,gpus_per_node=4,cpus_per_task=32; time "
        "is in minutes, and a task that needs more goes on in another job",
    )
    parser.add_argument(
        "--wandb",
        type=_texts,
        metavar="KEY=VALUE,...",
        help="of every run in W&B: project=mine,log_model=true; `deeplab fit --help` has them all",
    )


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def _texts(text: str) -> dict[str, str]:
    return dict(_setting(part) for part in text.split(","))


def _setting(part: str) -> tuple[str, str]:
    key, equals, value = part.partition("=")
    if not (key and equals):
        raise ArgumentTypeError(f"{part!r} is not KEY=VALUE")
    return key, value


def _settings(text: str) -> dict[str, str | int]:
    return {key: int(value) if value.isdigit() else value for key, value in _texts(text).items()}


def _numbers(text: str) -> list[int]:
    numbers = text.split(",")
    if not all(number.strip().isdecimal() for number in numbers):
        raise ArgumentTypeError(f"{text!r} is not a list of numbers such as 0,1,2")
    return [int(number) for number in numbers]


def _names(table: Table, tables: list[Table], names: list[str] | None) -> list[str] | None:
    """Those of the names, "row" or "table/row", that are rows of a table; every name must be one of some table."""
    if names is None:
        return None
    known = {name for each in tables for row in each.rows for name in (row.name, f"{each.path.stem}/{row.name}")}
    if unknown := [name for name in names if name not in known]:
        raise TableError(f"there is no row {unknown[0]!r} in {', '.join(str(each.path) for each in tables)}")
    return [row.name for row in table.rows if row.name in names or f"{table.path.stem}/{row.name}" in names]


def as_dict(plan: Plan, root: Path, older: Mapping[str, str] = NONE) -> dict[str, Any]:
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
            "gigapixels": training.gigapixels,
            "replaced": training.replaced,
            "done": is_done(root / training.name),
            "older": older.get(training.name),
            "commands": [["deeplab", *work.options(root)] for work in work_of(plan) if work.training is training],
            "config": training.config,
        }
        for training in plan.trainings
    ]
    return {"table": str(plan.table.path), "rows": rows, "runs": runs}


def print_plan(console: Console, plan: Plan, root: Path, older: Mapping[str, str] = NONE) -> None:
    """Show the trainings of a plan, what shares them, what they cost, and their commands."""
    grid = RichTable("run", "rows", "starts from", "cost", "passes", "state", title=escape(plan.table.title))
    for training in plan.trainings:
        state = "done" if is_done(root / training.name) else "older" if training.name in older else "to do"
        source = "" if training.source is None else training.source.name
        passes = "\n".join(f"{each.passes:.3g}" for each in training.evaluations.values())
        cells = (training.name, ", ".join(training.rows), source, training.cost, passes, state)
        grid.add_row(*map(escape, cells))
    console.print(grid)
    total = sum(training.gigapixels for training in plan.trainings)
    legend = f"{len(plan.trainings)} trainings, {total:.3g} gigapixels of crops; evaluations by passes at scale 1"
    console.print(legend, highlight=False, soft_wrap=True)
    references = [planned.row.name for planned in plan.rows if planned.training is None]
    if references:
        text = f"references, nothing to run: {', '.join(references)}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    works = work_of(plan)
    if served := [planned.row.name for planned in plan.rows if planned.served]:
        text = f"label maps for the VOC server, in a tarball each: {', '.join(dict.fromkeys(served))}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    for work in works:
        if work.key in older:
            console.print(f"{work.rows_name}: {older[work.key]}", markup=False, highlight=False, soft_wrap=True)
    for training in plan.trainings:
        for row, replaced in training.replaced.items():
            text = f"scale {plan.scale} sets aside {', '.join(replaced)} of {row}"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
    console.print("Its commands; their configs are written when `deeplab ablate` starts them:", highlight=False)
    for work in works:
        console.print(shlex.join(["deeplab", *work.options(root)]), markup=False, highlight=False, soft_wrap=True)


def _submit(plans: list[Plan], arguments: Namespace) -> int:
    from deeplab_lightning.ablation.slurm import submit

    folder = arguments.runs / arguments.scale / "slurm"
    jobs = submit(commands_of(plans, arguments.runs, _older(arguments)), folder, arguments.slurm)
    print("\n".join(jobs))
    print(f"{len(jobs)} tasks; their output goes to {folder}, and `deeplab report` shows what is done")
    return 0


def _write_sweep(plans: list[Plan], arguments: Namespace) -> int:
    path = write_sweep(plans, arguments.runs, _older(arguments))
    print(f"wandb sweep {path}     # once; prints the ID of the sweep")
    print("wandb agent ID     # on every machine, in this folder")
    return 0


def _older(arguments: Namespace) -> list[str]:
    return ["--older", arguments.older] if arguments.older else []


HAND_OVER = {"slurm": _submit, "wandb": _write_sweep}


def _run(plans: list[Plan], root: Path, older: Mapping[str, str], shares: Sequence[Share]) -> int:
    works = work_of(*plans)
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=len(works))

        def tell(work: Work, what: str) -> None:
            kind = "training" if work.evaluation is None else "evaluation"
            title = f"{work.training.group}: {kind} of {work.rows_name}, seed {work.training.seed}"
            if what == "starts":
                progress.update(bar, description=escape(title))
                return
            progress.advance(bar)
            if what not in ("done", "was done"):
                place = f"{title} not done; {work.folder(root)}:"
                console.print(place, markup=False, highlight=False, soft_wrap=True)
                console.print(what, markup=False, highlight=False, soft_wrap=True)

        return run_works(works, root, tell, shares, older)
