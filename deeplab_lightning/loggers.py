"""The loggers of a run: CSV files beside its checkpoints, and Weights & Biases (W&B)."""

import os
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from deeplab_lightning.atomic import naming
from deeplab_lightning.extras import is_installed, require
from deeplab_lightning.lightning_internals import logs_model, wandb_arguments
from deeplab_lightning.run_folder import LogFolder, RunFolder

WITHOUT_WANDB = (
    "Weights & Biases is not installed, so that scores are kept in the run folder alone; for both: pip install "
    '"deeplab_lightning[wandb]"'
)


@dataclass
class WandbSettings:
    """The settings that place a run in Weights & Biases.

    Args:
        mode: Mode of W&B: "auto" is online with an API key and offline without one; "disabled" leaves W&B out.
        project: Project of the run.
        entity: User or team; if not given, the owner of the API key.
        group: Name of a group of runs; if not given, the runs of one run folder are a group.
        name: Name of the run; if not given, the run folder's name, followed by the command unless it is fit.
        tags: Tags of the run.
        work: Name of the table's job that this run does; `deeplab report --wandb` uses it to find the run.
        asked: Hashes of the settings that tables ask for; they identify the run after a change of the protocol.
        protocol: Version of the tables' protocol that the run followed.
        paper: Numbers that a paper prints for the run's scores, in percent, by logged name and by row.
        log_model: W&B keeps best.ckpt as an artifact at the end of a training; for tables it keeps last.ckpt, which
            their rows score.
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
    """Build the CSV logger of `<root>/logs/<command>_<number>` and, after it, the W&B logger.

    Lightning writes the resolved config into the folder of the first logger. A prediction has nothing to log in W&B.

    Args:
        root: The run folder.
        command: Command of the run: "fit", "validate", "test" or "predict".
        settings: The settings of W&B.
        submits: The prediction is packed for a server; W&B then keeps the path of the package.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # wandb would send error reports, even offline
    run = RunFolder(root)
    # A run folder's lock admits one training, but evaluations may start together. Rank zero's folder counts.
    claimed = None if command == "fit" else rank_zero_only(run.claim_log)(command)
    logs = (claimed or run.new_log(command)).path
    loggers: list[Logger] = [CurveLogger(root, logs.parent.name, logs.name)]
    mode = "disabled" if command == "predict" and not submits else wandb_mode(settings)
    if mode != "disabled":
        root.mkdir(parents=True, exist_ok=True)
        folder = root.resolve().name
        trains_for_table = settings.work is not None and command == "fit"
        wandb_logger = (LastCheckpointLogger if trains_for_table else partial(PaperLogger, settings.paper))(
            name=settings.name or (folder if command == "fit" else f"{folder} {command}"),
            save_dir=root,
            mode=mode,
            project=settings.project,
            entity=settings.entity,
            group=settings.group or folder,
            tags=settings.tags,
            job_type=command,
            id=_earlier_run(root) if trains_for_table and mode == "online" else None,
            log_model=settings.log_model,
            settings={"silent": True},
        )
        wandb_arguments(wandb_logger).pop("anonymous", None)  # wandb warns about it, and Lightning always passes it
        loggers.append(wandb_logger)
    return loggers


class CurveLogger(CSVLogger):
    """The CSV file of a run's curves, which is named in the error if it cannot be written."""

    @rank_zero_only
    def save(self) -> None:
        """Write the rows since the last call."""
        with naming(LogFolder(Path(self.log_dir)).metrics):
            super().save()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the last rows; after a failure, an error here would hide the first one."""
        with suppress(OSError) if status == "failed" else nullcontext():
            super().finalize(status)


class PaperLogger(WandbLogger):
    """A W&B logger that compares scores with the numbers of a paper.

    The run's summary holds {paper, ours, difference} of each row under `rows`, in percent.

    Args:
        paper: Numbers of the paper, in percent, by logged name and by row.
        kwargs: Arguments of `WandbLogger`.
    """

    def __init__(self, paper: Mapping[str, Mapping[str, float]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._paper = paper

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log metrics, and compare those that have a number in the paper."""
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
    """A W&B logger that keeps last.ckpt as an artifact in place of best.ckpt."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Keep last.ckpt after a successful training."""
        last = RunFolder(Path(str(self.save_dir))).last
        if status == "success" and logs_model(self):
            self.experiment.log_model(last, f"model-{self.experiment.id}", ["last"])


def _earlier_run(root: Path) -> str | None:
    """Return the ID of the W&B run that a resumed training continues, so that it has one set of curves.

    A run that was recorded offline is not continued, because versions of `wandb sync` treat two runs with one ID
    differently.
    """
    folders = sorted(RunFolder(root).wandb.glob("run-*-*"))
    return folders[-1].name.split("-", 2)[2] if folders else None


def wandb_mode(settings: WandbSettings) -> str:
    """Return the mode of W&B.

    "auto" is WANDB_MODE if that is set, else "online" if there is an API key, else "offline". If W&B is not installed,
    "auto" is "disabled", and a line says so.

    Raises:
        ModuleNotFoundError: A setting asks for W&B, which is not installed.
    """
    if settings.mode == "disabled":
        return settings.mode
    if settings.mode == "auto" and not settings.log_model and not is_installed("wandb"):
        rank_zero_info(WITHOUT_WANDB)
        return "disabled"
    require("wandb", "wandb.log_model" if settings.log_model else f"wandb.mode {settings.mode}")
    if settings.mode != "auto":
        return settings.mode
    if mode := os.environ.get("WANDB_MODE"):
        return mode
    import wandb

    return "online" if wandb.login(prompt=False, verify=False) else "offline"
