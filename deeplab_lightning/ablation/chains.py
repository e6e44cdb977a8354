"""The rows of tables, divided among machines that run `deeplab ablate` each for itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deeplab_lightning.ablation.plan import Plan
from deeplab_lightning.ablation.table import TableError
from deeplab_lightning.atomic import write_atomically

SWEEP = "sweep.yaml"


@dataclass(frozen=True)
class Chain:
    """Rows whose trainings are the same or start from one another, so that one machine must run them.

    Args:
        rows: as `--rows` takes them.
        seed: of the trainings.
    """

    rows: tuple[str, ...]
    seed: int


def chains_of(plans: Sequence[Plan]) -> list[Chain]:
    """Every row that trains, with each seed, in exactly one chain.

    Raises:
        TableError: none does.
    """
    found: dict[str, list[tuple[str, int]]] = {}
    for plan in plans:
        for planned in plan.rows:
            if planned.training is not None:
                name = planned.row.name if len(plans) == 1 else f"{plan.table.path.stem}/{planned.row.name}"
                found.setdefault(planned.training.origin.name, []).append((name, planned.seed))
    if not found:
        names = ", ".join(planned.row.name for plan in plans for planned in plan.rows)
        raise TableError(f"there is nothing to run: {names} are references")
    return [Chain(tuple(name for name, _ in rows), rows[0][1]) for rows in found.values()]


def options_of(plans: Sequence[Plan], runs: Path, more: Sequence[str] = ()) -> list[str]:
    """What all machines' command lines after `deeplab` have in common."""
    tables = [str(plan.table.path) for plan in plans]
    settings = ",".join(f"{key}={value}" for key, value in plans[0].wandb.items())
    return [
        "ablate",
        *tables,
        "--scale",
        plans[0].scale,
        "--runs",
        str(runs),
        *(["--wandb", settings] if settings else []),
        *more,
    ]


def commands_of(plans: Sequence[Plan], runs: Path, more: Sequence[str] = ()) -> list[list[str]]:
    """The command line after `deeplab` of each chain, with more options for all."""
    common = options_of(plans, runs, more)
    return [[*common, "--rows", ",".join(chain.rows), "--seeds", str(chain.seed)] for chain in chains_of(plans)]


def write_sweep(plans: Sequence[Plan], runs: Path, more: Sequence[str] = ()) -> Path:
    """Write a W&B sweep, whose agents run a chain each at a time until none is left; where it is."""
    from deeplab_lightning.loggers import WandbSettings

    chains, wandb = chains_of(plans), {"project": WandbSettings.project} | dict(plans[0].wandb)
    sweep: dict[str, Any] = {
        "name": ", ".join(plan.table.path.stem for plan in plans),
        **{key: wandb[key] for key in ("entity", "project") if key in wandb},
        "program": "deeplab_lightning",
        "method": "grid",
        "command": ["${env}", "${interpreter}", "-m", "${program}", *options_of(plans, runs, more), "${args}"],
        "parameters": {
            "rows": {"values": list(dict.fromkeys(",".join(chain.rows) for chain in chains))},
            "seeds": {"values": list(dict.fromkeys(chain.seed for chain in chains))},
        },
    }
    path = runs / plans[0].scale / SWEEP
    write_atomically(path, yaml.safe_dump(sweep, sort_keys=False, width=120))
    return path
