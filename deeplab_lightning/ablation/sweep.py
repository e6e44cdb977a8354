"""The division of table rows among machines, each of which runs `deeplab ablate` on its own."""

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
class Part:
    """Rows that share a training or whose trainings start from one another, so that one machine must run them all.

    Args:
        rows: The names of the rows, those of several tables as table/row.
        seed: The seed of the trainings.
        trainings: The names of the trainings' folders.
    """

    rows: tuple[str, ...]
    seed: int
    trainings: frozenset[str]

    def __str__(self) -> str:
        """The part in the form that `--part` takes."""
        return f"{','.join(self.rows)}@{self.seed}"

    def options(self, common: Sequence[str]) -> list[str]:
        """The command line that runs this part, without the leading `deeplab`.

        Args:
            common: The words that are the same for all parts, as `common_options` gives them.
        """
        return [*common, "--part", str(self)]


def parts_of(plans: Sequence[Plan]) -> list[Part]:
    """Divide plans into parts. Each trained row with each seed belongs to exactly one part.

    Raises:
        TableError: No row is trained.
    """
    found: dict[str, list[tuple[str, int, str]]] = {}
    for plan in plans:
        for planned in plan.rows:
            if (training := planned.training) is not None:
                name = planned.row.name if len(plans) == 1 else f"{plan.table.path.stem}/{planned.row.name}"
                found.setdefault(training.origin.name, []).append((name, planned.seed, training.name))
    if not found:
        names = ", ".join(planned.row.name for plan in plans for planned in plan.rows)
        raise TableError(f"there is nothing to run: {names} are references")
    return [
        Part(tuple(name for name, _, _ in rows), rows[0][1], frozenset(training for _, _, training in rows))
        for rows in found.values()
    ]


def common_options(plans: Sequence[Plan], runs: Path, more: Sequence[str] = ()) -> list[str]:
    """The words of the command line after `deeplab` that are the same on all machines."""
    tables = [str(plan.table.path) for plan in plans]
    settings = ",".join(f"{key}={value}" for key, value in plans[0].wandb.items())
    wandb = ["--wandb", settings] if settings else []
    return ["ablate", *tables, "--scale", plans[0].scale, "--runs", str(runs), *wandb, *more]


def write_sweep(plans: Sequence[Plan], runs: Path, more: Sequence[str] = ()) -> Path:
    """Write the file of a W&B sweep, whose agents run one part at a time until none is left.

    Returns:
        The path of the file.
    """
    from deeplab_lightning.loggers import WandbSettings

    parts, wandb = parts_of(plans), {"project": WandbSettings.project} | dict(plans[0].wandb)
    sweep: dict[str, Any] = {
        "name": ", ".join(plan.table.path.stem for plan in plans),
        **{key: wandb[key] for key in ("entity", "project") if key in wandb},
        "program": "deeplab_lightning",
        "method": "grid",
        "command": ["${env}", "${interpreter}", "-m", "${program}", *common_options(plans, runs, more), "${args}"],
        "parameters": {"part": {"values": [str(part) for part in parts]}},  # one: a grid runs all combinations
    }
    path = runs / plans[0].scale / SWEEP
    write_atomically(path, yaml.safe_dump(sweep, sort_keys=False, width=120))
    return path
