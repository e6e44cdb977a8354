"""The two records of every run: CSV files beside its checkpoints, and Weights & Biases."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from deeplab_lightning.lightning_internals import logs_model, wandb_arguments


@dataclass
class WandbSettings:
    """Where a run goes in Weights & Biases.

    Args:
        mode: "auto" is online with an API key and offline without one; "disabled" leaves W&B out.
        project: of the run.
        entity: user or team; the key's own when not given.
        group: of runs that belong together; when not given, those of one run folder.
        name: of the run; when not given, the run folder's name, behind which stands the command if it is not fit.
        tags: of the run.
        work: the piece of a table that the run is; by it `deeplab report --wandb` finds the run.
        asked: hashes of what tables ask for, by which it is found when the protocol has changed.
        protocol: of the tables, by which it was run.
        paper: the numbers that a paper prints for what the run scores, in percent, by logged name and by row.
        log_model: keep best.ckpt, of a table last.ckpt, which its rows score, as an artifact when a training ends.
    """

    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    project: str = "deeplab_lightning"
    entity: str | None = None
    group: str | None = None
    name: str | None = None
    tags: list[str] = field(default_factory=list)
    work: str | None = None
    asked: list[str] = field(default_factory=list)
    protocol: int | None = None
    paper: dict[str, dict[str, float]] = field(default_factory=dict)
    log_model: bool = False

    def __post_init__(self) -> None:
        if self.log_model and self.mode == "disabled":
            raise ValueError("wandb.log_model keeps checkpoints in W&B, which wandb.mode disabled leaves out")


def build_loggers(root: Path, command: str, settings: WandbSettings, submits: bool = False) -> list[Logger]:
    """The CSV logger of `<root>/logs/<command>_<number>`, and the W&B logger behind it.

    Lightning puts the resolved config into the folder of the first logger. A prediction has nothing to tell W&B.

    Args:
        root: the run folder.
        command: "fit", "validate", "test" or "predict".
        settings: of W&B.
        submits: the prediction is packed for a server, which W&B keeps the path of.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # wandb would send reports of its own, even offline
    number = next(number for number in count() if not (root / "logs" / f"{command}_{number}").exists())
    loggers: list[Logger] = [CSVLogger(root, "logs", f"{command}_{number}")]
    mode = "disabled" if command == "predict" and not submits else wandb_mode(settings)
    if mode != "disabled":
        root.mkdir(parents=True, exist_ok=True)
        folder = root.resolve().name
        of_table = settings.work is not None and command == "fit"
        wandb_logger = (LastCheckpointLogger if of_table else partial(PaperLogger, settings.paper))(
            name=settings.name or (folder if command == "fit" else f"{folder} {command}"),
            save_dir=root,
            mode=mode,
            project=settings.project,
            entity=settings.entity,
            group=settings.group or folder,
            tags=settings.tags,
            job_type=command,
            id=_earlier_run(root) if of_table and mode == "online" else None,
            log_model=settings.log_model,
            settings={"silent": True},
        )
        wandb_arguments(wandb_logger).pop("anonymous", None)  # wandb warns about it, and Lightning always passes it
        loggers.append(wandb_logger)
    return loggers


class PaperLogger(WandbLogger):
    """Puts the numbers of a paper beside what is scored.

    The run's summary has {paper, ours, difference} of each row in `rows`, in percent.

    Args:
        paper: the paper's numbers by logged name and by row.
        kwargs: see `WandbLogger`.
    """

    def __init__(self, paper: Mapping[str, Mapping[str, float]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._paper = paper

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log, and compare what has a number in the paper."""
        super().log_metrics(metrics, step)
        rows = {
            row: {"paper": number, "ours": 100 * metrics[name], "difference": 100 * metrics[name] - number}
            for name, numbers in self._paper.items()
            for row, number in numbers.items()
            if name in metrics
        }
        if rows:
            self.experiment.summary["rows"] = rows


class LastCheckpointLogger(WandbLogger):
    """Keeps last.ckpt where Lightning's logger keeps the best."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Keep it when the training is through."""
        last = Path(str(self.save_dir)) / "last.ckpt"
        if status == "success" and logs_model(self):
            self.experiment.log_model(last, f"model-{self.experiment.id}", ["last"])


def _earlier_run(root: Path) -> str | None:
    """The ID of the W&B run that a resumed training goes on with: its curves stay whole.

    Not of one that was recorded offline: what `wandb sync` makes of two with one ID is not the same in all versions.
    """
    folders = sorted((root / "wandb").glob("run-*-*"))
    return folders[-1].name.split("-", 2)[2] if folders else None


def wandb_mode(settings: WandbSettings) -> str:
    """The mode that "auto" comes to: WANDB_MODE if it is set, else online exactly when there is an API key."""
    if settings.mode != "auto":
        return settings.mode
    if mode := os.environ.get("WANDB_MODE"):
        return mode
    import wandb

    return "online" if wandb.login(prompt=False, verify=False) else "offline"
