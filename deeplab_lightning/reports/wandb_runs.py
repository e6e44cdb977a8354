"""The outcomes of jobs, read from Weights & Biases."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deeplab_lightning.ablation.outcomes import Outcome, Outcomes, State
from deeplab_lightning.extras import require
from deeplab_lightning.reports.wandb_files import read_files
from deeplab_lightning.run_folder import JobKey
from deeplab_lightning.scores import ungroup_scores


def read_runs(runs: Iterable[Any]) -> Outcomes:
    """The outcomes of runs of `wandb.Api`, oldest first. Of several runs of a job, the newest finished one counts.

    The seconds of a resumed training are those of its last attempt.
    """
    outcomes: Outcomes = {}
    for run in runs:
        key = _key(run)
        if key is None:
            continue
        if "seconds" in run.summary_metrics:
            try:
                outcomes[key] = _read_done(run, key)
            except (LookupError, TypeError, ValueError) as error:  # the record of one run hides no other
                outcomes[key] = Outcome(State.UNREADABLE, f"W&B's run {run.id} ({error})")
        elif key not in outcomes or not outcomes[key].is_done:
            outcomes[key] = Outcome(State.FAILED if run.state == "failed" else State.UNFINISHED)
    return outcomes


def _key(run: Any) -> JobKey | None:
    """The key of a run's job; None where the run is not part of a table."""
    try:
        return JobKey.parse(run.config["wandb"]["work"])
    except (LookupError, TypeError, ValueError):
        return None


def _read_done(run: Any, key: JobKey) -> Outcome:
    """The outcome of a finished run. Under the first protocol, the digest in the key is also the `asked` hash."""
    summary, config = run.summary_metrics, run.config
    return Outcome(
        seconds=summary["seconds"],
        scores=ungroup_scores(summary.get("evaluations", [])) if key.evaluation else [],
        num_devices=config.get("environment", {}).get("num_devices", 1),
        batch_norm=config.get("batch", {}).get("batch_norm", ""),
        submission=summary.get("submission", ""),
        protocol=config["wandb"].get("protocol") or 1,
        asked=config["wandb"].get("asked") or [key.own_digest],
    )


def find_runs(source: str) -> list[Any]:
    """The runs of a project, "project" or "entity/project", by W&B's public API, or those in a folder `wandb`.

    Raises:
        ConnectionError: There is no API key, no network, no such project, or no run in the folder.
        ModuleNotFoundError: wandb is not installed.
    """
    require("wandb", "--wandb")
    if Path(source).is_dir():
        return list(read_files(Path(source)))
    import wandb

    if not wandb.login(prompt=False, verify=False):
        raise ConnectionError(
            "there is no W&B API key; run `wandb login`, set WANDB_API_KEY, or read the runs of this machine"
        )
    try:
        return list(wandb.Api().runs(source, order="+created_at", per_page=200, lazy=False))
    except (wandb.Error, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConnectionError(f"the W&B project {source} cannot be read ({reason})") from error


def read_wandb(source: str) -> Outcomes:
    """The outcomes of a project, or of a folder `wandb`.

    Raises:
        As `find_runs`.
    """
    return read_runs(find_runs(source))
