"""`deeplab ablate`: train and score the rows of tables that are not done yet."""

import json
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deeplab_lightning.ablation.claims import EXPIRY
from deeplab_lightning.ablation.failed import only_failed
from deeplab_lightning.ablation.job import Job, jobs_of
from deeplab_lightning.ablation.older import accept_older, find_older
from deeplab_lightning.ablation.outcomes import State, read_folder
from deeplab_lightning.ablation.plan import Plan, plan_table
from deeplab_lightning.ablation.resources import WHOLE_MACHINE, Resources, split_devices
from deeplab_lightning.ablation.runner import RUNS, run_jobs
from deeplab_lightning.ablation.scales import PAPER_SCALE, SCALES, check_scale
from deeplab_lightning.ablation.shared import SharedResults
from deeplab_lightning.ablation.sweep import common_options, parts_of, write_sweep
from deeplab_lightning.ablation.table import Table, TableError, read_table, table_files
from deeplab_lightning.commands.dry_run import as_dict, print_plan
from deeplab_lightning.packaged import find_experiment
from deeplab_lightning.reports.compare import compare
from deeplab_lightning.reports.terminal import print_comparison, print_line
from deeplab_lightning.run_folder import JobKey
from deeplab_lightning.segmentation.addresses import address_of
from deeplab_lightning.usage import Parser

EPILOG = """Rows with the same training settings share one training, also across tables. Rows that differ only in their
evaluation share its checkpoint. Finished jobs are identified by the hash of their settings and of the code's defaults,
so the same command resumes after an interrupt and retries failed jobs. If the code has changed since, --older decides.
With --results, the same command on several machines divides the jobs among them: each job runs on one machine, the
others copy its result, and the jobs of a machine that dies are run by another.
`deeplab report` with the same files prints the tables at any time."""

FAILED = "failed"
RESERVED_WANDB = {"asked", "group", "name", "paper", "protocol", "tags", "work"}
"""The W&B settings that `deeplab ablate` sets itself. A report finds the runs of a table by them."""


def run(command: str, options: list[str]) -> int:
    """Plan the tables, and print, submit or run the plan; the exit status is 1 if a job is not done after a run."""
    arguments = _parse(command, options)
    root = arguments.runs / arguments.scale
    plans = _plan(arguments)
    outcomes = read_folder(root)
    accepted = accept_older(plans, outcomes) if arguments.older == "accept" else plans
    older = {} if arguments.older else find_older(plans, outcomes)
    if arguments.only == FAILED and not (accepted := only_failed(accepted, outcomes)):
        print(f"none of these rows has a failed job in {root}", file=sys.stderr)
        return 0
    if arguments.dry_run:
        for plan in accepted:
            if arguments.json:
                print(json.dumps(as_dict(plan, root, older)))
            else:
                print_plan(Console(), plan, root, older)
        return 0
    if arguments.launcher in LAUNCHERS:
        return LAUNCHERS[arguments.launcher](accepted, arguments)
    resources = split_devices(arguments.jobs) if arguments.launcher == "local" else [WHOLE_MACHINE]
    shared = SharedResults(arguments.results / arguments.scale, root) if arguments.results else None
    failed = _run(accepted, root, older, resources=resources, shared=shared)
    outcomes = read_folder(root)
    for plan in plans:
        print_comparison(Console(), compare(plan, outcomes))
    return 1 if failed else 0


def _plan(arguments: Namespace) -> list[Plan]:
    """The plans of the tables that contain rows to run."""
    tables = [read_table(file) for path in arguments.table for file in table_files(path) or [path]]
    for table in tables:
        check_scale(table, arguments.scale)
    seeds, plans = sorted(set(arguments.seeds)), []
    for table in tables:
        names = _names(table, tables, arguments.rows)
        if names != []:
            plans.append(plan_table(table, arguments.scale, seeds, names=names, wandb=arguments.wandb))
    return plans


def _parse(command: str, options: list[str]) -> Namespace:
    parser = Parser(
        prog=f"deeplab {command}",
        description="Train and score the rows of the papers' tables. Each table is one file.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "table",
        nargs="+",
        type=find_experiment,
        help="table files, such as experiments/ablations/deeplab_v3_table3.yaml, or folders of them",
    )
    parser.add_argument(
        "--rows", type=_words, help="names of the rows to run: a,b, or table3/a for one of several tables; default: all"
    )
    parser.add_argument("--seeds", type=_numbers, default=[0], help="seeds to train each row with: 0,1,2; default: 0")
    parser.add_argument(
        "--scale",
        choices=SCALES,
        default=PAPER_SCALE,
        help="paper: as published; camvid: on CamVid; smoke: a few steps on generated Shapes; default: paper",
    )
    parser.add_argument(
        "--only",
        choices=(FAILED,),
        help="failed: only the rows and seeds with a failed job; default: all that is not done",
    )
    parser.add_argument(
        "--results",
        type=address_of,
        metavar="DIR",
        help="folder or fsspec address, such as s3://bucket/results, where machines share results and divide the jobs "
        f"among them; a machine that shows no life for {EXPIRY / 60:g} minutes loses its jobs; default: none",
    )
    parser.add_argument("--runs", type=Path, default=RUNS, help=f"folder of the runs of each scale; default: {RUNS}")
    parser.add_argument(
        "--older",
        choices=("accept", "rerun"),
        help="treatment of jobs that were done before a default or the meaning of a setting changed: accept their "
        "results, or rerun them; default: describe them, and skip them and the jobs that need them",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the trainings, their rows and costs; run nothing")
    parser.add_argument("--json", action="store_true", help="with --dry-run: print a line of JSON for each table")
    _add_launchers(parser)
    arguments = parser.parse_args(options)
    _check(parser, arguments)
    if arguments.part:
        arguments.rows, arguments.seeds = arguments.part
    return arguments


def _check(parser: Parser, arguments: Namespace) -> None:
    """Refuse options that have no effect beside one another, or lack what they need."""
    if arguments.part and (arguments.rows or arguments.seeds != [0]):
        parser.error("--part has the rows and their seed; leave out --rows and --seeds")
    if arguments.json and not arguments.dry_run:
        parser.error("--json needs --dry-run; `deeplab report --json` prints the scores")
    if arguments.launcher and arguments.dry_run:
        parser.error("--dry-run prints the same plan for every launcher; leave out --launcher")
    if arguments.results and arguments.dry_run:
        parser.error("--dry-run prints the plan without the results of other machines; leave out --results")
    if arguments.jobs is not None and (arguments.launcher != "local" or arguments.jobs < 1):
        parser.error(f"--jobs needs --launcher local and a number of at least 1, got {arguments.jobs}")
    if bool(arguments.slurm) != (arguments.launcher == "slurm"):
        parser.error("--launcher slurm and --slurm KEY=VALUE,... need each other")
    if own := sorted(RESERVED_WANDB & set(arguments.wandb or {})):
        parser.error(f"--wandb cannot set {', '.join(own)}: ablate sets them so that reports find the runs of a table")
    if arguments.slurm and not isinstance(arguments.slurm.get("time"), int):
        parser.error(f"--slurm needs a time in minutes, such as time=720; got {arguments.slurm.get('time')}")


def _add_launchers(parser: Parser) -> None:
    parser.add_argument(
        "--launcher",
        choices=("local", "slurm", "wandb"),
        help="local: several jobs at a time, each on its share of this machine's devices; slurm: an array job with one "
        "task for each group of rows that share trainings; wandb: a sweep file for agents on many machines; default: "
        "one job at a time on all devices",
    )
    parser.add_argument(
        "--jobs", type=int, help="with --launcher local: number of simultaneous jobs; default: one for each GPU"
    )
    parser.add_argument(
        "--slurm",
        type=_settings,
        metavar="KEY=VALUE,...",
        help="with --launcher slurm: settings by submitit's names, such as partition=gpu,time=720,gpus_per_node=4 and "
        "cpus_per_task=32; time is in minutes, and a task that needs more is requeued and resumes",
    )
    parser.add_argument(
        "--wandb",
        type=_texts,
        metavar="KEY=VALUE,...",
        help="W&B settings of every run: project=mine,log_model=true; `deeplab fit --help` lists them all",
    )
    parser.add_argument(
        "--part", type=_part, metavar="ROWS@SEED", help="rows and seed in one word, as launchers give them"
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


def _part(text: str) -> tuple[list[str], list[int]]:
    rows, _, seed = text.rpartition("@")
    if not (rows and seed.isdecimal()):
        raise ArgumentTypeError(f"{text!r} is not ROWS@SEED, such as a,b@0")
    return _words(rows), [int(seed)]


def _names(table: Table, tables: list[Table], names: list[str] | None) -> list[str] | None:
    """The rows of a table whose names were given as "row" or "table/row"; None for all rows.

    Raises:
        TableError: No table has a row with one of the given names.
    """
    if names is None:
        return None
    known = {name for each in tables for row in each.rows for name in (row.name, f"{each.path.stem}/{row.name}")}
    if unknown := [name for name in names if name not in known]:
        raise TableError(f"there is no row {unknown[0]!r} in {', '.join(str(each.path) for each in tables)}")
    return [row.name for row in table.rows if row.name in names or f"{table.path.stem}/{row.name}" in names]


def _submit(plans: list[Plan], arguments: Namespace) -> int:
    from deeplab_lightning.ablation.slurm import submit

    root = arguments.runs / arguments.scale
    folder, common = root / "slurm", common_options(plans, arguments.runs, _more(arguments))
    ids = submit(parts_of(plans), common, root, folder=folder, settings=arguments.slurm)
    print("\n".join(ids))
    print(f"{len(ids)} tasks; their output goes to {folder}, and `deeplab report` prints the results")
    return 0


def _write_sweep(plans: list[Plan], arguments: Namespace) -> int:
    path = write_sweep(plans, arguments.runs, _more(arguments))
    print(f"wandb sweep {path}     # run this once; it prints the ID of the sweep")
    print("wandb agent ID     # run this on every machine, in this folder")
    return 0


def _more(arguments: Namespace) -> list[str]:
    """The options that every machine takes over."""
    older = ["--older", arguments.older] if arguments.older else []
    return older + (["--results", str(arguments.results)] if arguments.results else [])


LAUNCHERS = {"slurm": _submit, "wandb": _write_sweep}
"""The launchers that run the jobs elsewhere."""


def _run(
    plans: list[Plan],
    root: Path,
    older: Mapping[JobKey, str],
    resources: Sequence[Resources],
    shared: SharedResults | None,
) -> int:
    """Run the jobs of plans with a progress bar, and return the number of jobs that are not done in the end."""
    jobs, console = jobs_of(*plans), Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=len(jobs))

        def on_progress(job: Job, state: State, reason: str) -> None:
            kind = "training" if job.evaluation is None else "evaluation"
            title = f"{job.training.group}: {kind} of {job.rows_name}, seed {job.training.seed}"
            if state is State.STARTED:
                progress.update(bar, description=escape(title))
                return
            if state is State.WAITING:
                progress.update(bar, description=escape(f"{title}: waiting for {reason}"))
                return
            progress.advance(bar)
            if state is not State.DONE:
                print_line(console, f"{title} not done; {job.folder(root).path}:")
                print_line(console, reason)

        return run_jobs(jobs, root, on_progress, resources=resources, older=older, shared=shared)
