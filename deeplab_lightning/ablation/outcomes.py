"""What the pieces of work of tables came to, read from the folder of the runs or from Weights & Biases."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deeplab_lightning.ablation.plan import Training
from deeplab_lightning.ablation.records import read_done, read_failure
from deeplab_lightning.ablation.runner import DONE, FAILED
from deeplab_lightning.identity import Record, ungroup_records


@dataclass(frozen=True)
class Outcome:
    """What became of one piece of work.

    Args:
        state: why it is not done; empty when it is.
        seconds: that it took.
        records: its scores {split, metric, value, identity}; a training has none.
        num_devices: that it trained on, each with the batch of the settings.
        submission: the tarball that it left for the VOC server, on the machine where it ran.
    """

    state: str = ""
    seconds: float = 0.0
    records: list[Record] = field(default_factory=list)
    num_devices: int = 1
    submission: str = ""


Outcomes = dict[str, Outcome]
"""By `Work.key`."""


def keys_by_seed(training: Training, outcomes: Outcomes) -> dict[int, str]:
    """The keys of a training with whatever seed, in the order of the seeds."""
    name = re.compile(rf"{training.name.partition('_')[0]}_seed(\d+)")
    return dict(sorted((int(match[1]), key) for key in outcomes if (match := name.fullmatch(key))))


def read_folder(root: Path) -> Outcomes:
    """The outcomes of what was run into a folder; a file in it that cannot be read is the state of that work alone."""
    folders = [*root.glob("*_seed*"), *root.glob("*_seed*/evaluations/*")]
    return {folder.relative_to(root).as_posix(): _read_work(folder) for folder in folders}


def _read_work(folder: Path) -> Outcome:
    try:
        if (folder / DONE).is_file():
            return Outcome("", *read_done(folder / DONE))
        if (folder / FAILED).is_file():
            return Outcome(f"failed: {read_failure(folder / FAILED)}")
    except ValueError as error:
        return Outcome(str(error))
    return Outcome("unfinished")


def read_runs(runs: Iterable[Any]) -> Outcomes:
    """The outcomes of runs of `wandb.Api`, oldest first; of those of the same work the newest that is done counts.

    Of a training that was resumed the seconds are those of its last attempt.
    """
    outcomes: Outcomes = {}
    for run in runs:
        key = run.config.get("wandb", {}).get("work")
        if key is None:
            continue
        summary = run.summary_metrics
        if "seconds" in summary:
            records = ungroup_records(summary.get("evaluations", [])) if "/" in key else []
            num_devices = run.config.get("environment", {}).get("num_devices", 1)
            outcomes[key] = Outcome("", summary["seconds"], records, num_devices, summary.get("submission", ""))
        elif key not in outcomes or outcomes[key].state:
            outcomes[key] = Outcome("failed" if run.state == "failed" else "unfinished")
    return outcomes


def read_wandb(project: str) -> Outcomes:
    """The outcomes of a project, "project" or "entity/project", by W&B's public API.

    Raises:
        ConnectionError: there is no key, no network, or no such project.
    """
    import wandb

    if not wandb.login(prompt=False, verify=False):
        raise ConnectionError(
            "W&B has no API key here: `wandb login` or WANDB_API_KEY; without --wandb the local records are read"
        )
    try:
        return read_runs(wandb.Api().runs(project, order="+created_at", per_page=200, lazy=False))
    except (wandb.Error, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConnectionError(f"W&B's project {project} cannot be read ({reason})") from error
