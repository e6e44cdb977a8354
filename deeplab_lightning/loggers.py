"""The loggers of every run: CSV files beside its checkpoints, and Weights & Biases."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from deeplab_lightning.lightning_internals import logs_model, wandb_arguments
from deeplab_lightning.run_folder import RunFolder


@dataclass
class WandbSettings:
    """The place of a run in Weights & Biases.

    Args:
        mode: "auto" is online with an API key and offline without one; "disabled" leaves W&B out.
        project: Project of the run.
        entity: User or team; the key's own when not given.
        group: Name of a group of runs; when not given, the runs of one run folder are a group.
        name: Name of the run; when not given, the run folder's name, followed by the command unless it is fit.
        tags: Tags of the run.
        work: The job of a table that the run is; `deeplab report --wandb` finds the run by it.
        asked: Hashes of the settings that tables ask for, by which the run is found when the protocol has changed.
        protocol: Version of the tables' protocol that the run followed.
        paper: The numbers that a paper prints for the run's scores, in percent, by logged name and by row.
        log_model: Keep best.ckpt as an artifact when a training ends; of a table last.ckpt, which its rows score.
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

    Lightning puts the resolved config into the folder of the first logger. A prediction has nothing to log in W&B.

    Args:
        root: The run folder.
        command: "fit", "validate", "test" or "predict".
        settings: The settings of W&B.
        submits: Whether the prediction is packed for a server; W&B then keeps the path of the package.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # wandb would send reports of its own, even offline
    logs = RunFolder(root).new_log(command).path
    loggers: list[Logger] = [CSVLogger(root, logs.parent.name, logs.name)]
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
    """Puts the numbers of a paper beside the scores.

    The run's summary has {paper, ours, difference} of each row in `rows`, in percent.

    Args:
        paper: The paper's numbers by logged name and by row.
        kwargs: The arguments of `WandbLogger`.
    """

    def __init__(self, paper: Mapping[str, Mapping[str, float]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._paper = paper

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log, and compare the scores that have a number in the paper."""
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
        last = RunFolder(Path(str(self.save_dir))).last
        if status == "success" and logs_model(self):
            self.experiment.log_model(last, f"model-{self.experiment.id}", ["last"])


def _earlier_run(root: Path) -> str | None:
    """The ID of the W&B run that a resumed training goes on with: its curves stay whole.

    A run that was recorded offline is none: versions of `wandb sync` differ in what they make of two with one ID.
    """
    folders = sorted(RunFolder(root).wandb.glob("run-*-*"))
    return folders[-1].name.split("-", 2)[2] if folders else None


def wandb_mode(settings: WandbSettings) -> str:
    """The mode that "auto" comes to: WANDB_MODE if it is set, else online exactly when there is an API key."""
    if settings.mode != "auto":
        return settings.mode
    if mode := os.environ.get("WANDB_MODE"):
        return mode
    import wandb

    return "online" if wandb.login(prompt=False, verify=False) else "offline"
