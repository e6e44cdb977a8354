"""The output of `deeplab ablate --dry-run`: the trainings of a plan, the rows that share them, and their costs."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console

from deeplab_lightning.ablation.job import jobs_of
from deeplab_lightning.ablation.outcomes import Outcome, State
from deeplab_lightning.ablation.plan import Plan, Training
from deeplab_lightning.ablation.start import describe_start
from deeplab_lightning.reports.grid import Grid
from deeplab_lightning.reports.terminal import print_line
from deeplab_lightning.run_folder import JobFolder, JobKey

NO_OLDER: Mapping[JobKey, str] = MappingProxyType({})


def as_dict(plan: Plan, root: Path, older: Mapping[JobKey, str] = NO_OLDER) -> dict[str, Any]:
    """A plan as plain values for JSON."""
    rows = [
        {
            "name": planned.row.name,
            "paper": planned.row.paper,
            "run": planned.training and planned.training.name,
            "seed": planned.training and planned.seed,
            "evaluate": planned.evaluation and planned.evaluation.settings,
            "starts_from": planned.training and describe_start(planned.training),
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
            "done": _is_done(training, root),
            "older": older.get(training.key),
            "commands": [["deeplab", *job.options(root)] for job in jobs_of(plan) if job.training is training],
            "config": training.config,
        }
        for training in plan.trainings
    ]
    return {"table": str(plan.table.path), "rows": rows, "runs": runs}


def _is_done(training: Training, root: Path) -> bool:
    return Outcome.read(JobFolder.of(root, training.key)).is_done


def print_plan(console: Console, plan: Plan, root: Path, older: Mapping[JobKey, str] = NO_OLDER) -> None:
    """Print the trainings of a plan, the rows that share them, their costs, and the commands."""
    console.print(_plan_grid(plan, root, older).for_terminal(plan.table.title))
    total = sum(training.gigapixels for training in plan.trainings)
    print_line(
        console,
        f"{len(plan.trainings)} trainings, {total:.3g} gigapixels of crops; the passes of an evaluation are at scale 1",
    )
    references = [planned.row.name for planned in plan.rows if planned.training is None]
    if references:
        print_line(console, f"references without a run: {', '.join(references)}")
    served = [planned.row.name for planned in plan.rows if planned.served]
    if served:
        names = ", ".join(dict.fromkeys(served))
        print_line(console, f"each written as a package of label maps for the server: {names}")
    jobs = jobs_of(plan)
    for job in jobs:
        if job.key in older:
            print_line(console, f"{job.rows_name}: {older[job.key]}")
    for training in plan.trainings:
        for row, replaced in training.replaced.items():
            print_line(console, f"scale {plan.scale} overrides {', '.join(replaced)} of {row}")
    console.print("The commands; `deeplab ablate` writes their configs when it starts them:", highlight=False)
    for job in jobs:
        print_line(console, shlex.join(["deeplab", *job.options(root)]))


def _plan_grid(plan: Plan, root: Path, older: Mapping[JobKey, str]) -> Grid:
    rows = []
    for training in plan.trainings:
        state = State.DONE if _is_done(training, root) else State.OLDER if training.key in older else State.NOT_RUN
        passes = "\n".join(f"{each.passes:.3g}" for each in training.evaluations.values())
        rows.append(
            [training.name, ", ".join(training.rows), describe_start(training), training.cost, passes, state.value]
        )
    return Grid(["run", "rows", "starts from", "cost", "passes", "state"], rows)
