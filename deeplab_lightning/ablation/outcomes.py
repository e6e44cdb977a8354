"""What the pieces of work of tables came to, read from the folder of the runs or from Weights & Biases."""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deeplab_lightning.ablation.plan import Evaluation, Training
from deeplab_lightning.ablation.protocol import PROTOCOL, PROTOCOLS
from deeplab_lightning.ablation.records import read_done, read_failure
from deeplab_lightning.ablation.runner import DONE, FAILED
from deeplab_lightning.ablation.table import TableError, read_yaml
from deeplab_lightning.identity import Record
from deeplab_lightning.scores import ungroup_scores
from deeplab_lightning.settings.resolve import Resolved, differences, flatten


@dataclass(frozen=True)
class Outcome:
    """What became of one piece of work.

    Args:
        state: why it is not done; empty when it is.
        seconds: that it took.
        records: its scores {split, metric, value, identity}; a training has none.
        num_devices: that it trained on.
        batch_norm: what of a batch its batch norms saw; not known of the first protocol.
        submission: the tarball that it left for the VOC server, on the machine where it ran.
        protocol: by which it was done.
        asked: hashes of what tables asked for.
        folder: where it is, unless that was read from W&B.
    """

    state: str = ""
    seconds: float = 0.0
    records: list[Record] = field(default_factory=list)
    num_devices: int = 1
    batch_norm: str = ""
    submission: str = ""
    protocol: int = PROTOCOL
    asked: Sequence[str] = ()
    folder: Path | None = field(default=None, compare=False)


Outcomes = dict[str, Outcome]
"""By `Work.key`."""


def keys_by_seed(training: Training, outcomes: Outcomes) -> dict[int, str]:
    """The keys of a training with whatever seed, in the order of the seeds."""
    name = re.compile(rf"{training.name.partition('_')[0]}_seed(\d+)")
    return dict(sorted((int(match[1]), key) for key in outcomes if (match := name.fullmatch(key))))


def chosen_keys(training: Training, outcomes: Outcomes) -> dict[int, str]:
    """Those keys, or where none of that is done, those of the same rows under an older protocol."""
    own = keys_by_seed(training, outcomes)
    if any(not outcomes[key].state for key in own.values()):
        return own
    return older_keys(training, outcomes) or own


def older_keys(training: Training, outcomes: Outcomes) -> dict[int, str]:
    """The keys of what was done under an older protocol for the same rows, the newest of each seed."""
    found: dict[int, str] = {}
    for key, outcome in outcomes.items():
        digest, _, seed = key.partition("_seed")
        own = digest == training.name.partition("_")[0]
        if seed.isdecimal() and not own and not outcome.state and set(outcome.asked) & set(training.asked):
            found[int(seed)] = key
    return dict(sorted(found.items()))


def chosen_evaluation(key: str, evaluation: Evaluation, outcomes: Outcomes) -> str:
    """The key of an evaluation of a training, or where that is not done, of the same under an older protocol."""
    own = f"{key}/evaluations/{evaluation.digest}"
    if own in outcomes and not outcomes[own].state:
        return own
    older = [
        each
        for each, outcome in outcomes.items()
        if each.startswith(f"{key}/evaluations/") and not outcome.state and set(outcome.asked) & set(evaluation.asked)
    ]
    return older[-1] if older else own


def describe_older(outcome: Outcome, resolved: Resolved) -> str:
    """How what was done differs from what would be done now; what was recorded of it decides."""
    changes = []
    if outcome.protocol != PROTOCOL:
        since = ", ".join(text for number, text in PROTOCOLS.items() if number > outcome.protocol)
        changes.append(f"protocol {outcome.protocol} -> {PROTOCOL}: {since}")
    records = [] if outcome.folder is None else list(outcome.folder.glob("logs/*/config.yaml"))
    if records:
        with suppress(TableError, LookupError, TypeError, AttributeError):  # damaged: the rest is said all the same
            newest = max(records, key=lambda path: path.stat().st_mtime_ns)
            changes += differences(flatten(read_yaml(newest)), resolved)
    return "; ".join(changes) or "what it starts from"


def read_folder(root: Path) -> Outcomes:
    """The outcomes of what was run into a folder, oldest first.

    A file in it that cannot be read is the state of that work alone.
    """
    folders = [*root.glob("*_seed*"), *root.glob("*_seed*/evaluations/*")]
    folders.sort(key=lambda folder: (folder / DONE).stat().st_mtime_ns if (folder / DONE).is_file() else 0)
    return {folder.relative_to(root).as_posix(): _read_work(folder) for folder in folders}


def _read_work(folder: Path) -> Outcome:
    try:
        if (folder / DONE).is_file():
            return Outcome(**read_done(folder / DONE), folder=folder)
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
            scores = ungroup_scores(summary.get("evaluations", [])) if "/" in key else []
            outcomes[key] = Outcome(
                seconds=summary["seconds"],
                records=[score.as_record() for score in scores],
                num_devices=run.config.get("environment", {}).get("num_devices", 1),
                batch_norm=run.config.get("batch", {}).get("batch_norm", ""),
                submission=summary.get("submission", ""),
                protocol=run.config["wandb"].get("protocol") or 1,
                asked=run.config["wandb"].get("asked") or [key.rpartition("/")[2].partition("_")[0]],
            )
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
