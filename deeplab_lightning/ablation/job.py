"""The jobs of plans: each one process of `deeplab`, a training or an evaluation."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deeplab_lightning.ablation.plan import Evaluation, Plan, Training
from deeplab_lightning.ablation.protocol import PROTOCOL
from deeplab_lightning.run_folder import JobFolder, JobKey


@dataclass(frozen=True)
class Job:
    """One process: a training, or one of its evaluations.

    Args:
        training: The training that is run, or whose weights are scored.
        evaluation: The evaluation; None for the training itself.
        wandb: Further settings of its run in Weights & Biases.
    """

    training: Training
    evaluation: Evaluation | None
    wandb: Mapping[str, str]

    @property
    def key(self) -> JobKey:
        """The name by which the job is found again."""
        if self.evaluation is None:
            return self.training.key
        return JobKey(self.training.name, self.evaluation.digest)

    @property
    def command(self) -> str:
        """The command of `deeplab`."""
        return "fit" if self.evaluation is None else self.evaluation.command

    @property
    def asked(self) -> list[str]:
        """The hashes of what tables ask for, by which the job is found under another protocol."""
        return self.training.asked if self.evaluation is None else self.evaluation.asked

    @property
    def needs(self) -> Training | None:
        """The training that must be done before."""
        return self.training.source if self.evaluation is None else self.training

    @property
    def rows_name(self) -> str:
        """The first row that it serves, and how many more."""
        return rows_name(self.training.rows if self.evaluation is None else self.evaluation.rows)

    def folder(self, root: Path) -> JobFolder:
        """The folder, among those of all jobs, in which it leaves what it makes."""
        return JobFolder.of(root, self.key)

    def options(self, root: Path) -> list[str]:
        """The command line after `deeplab`."""
        training, folder = JobFolder.of(root, self.training.key), self.folder(root)
        config = ["-c", str(training.config)]
        if self.evaluation is None:
            return [self.command, *config, "--ckpt_path", "last", *self._wandb_options()]
        config += ["-c", str(folder.evaluate), "--ckpt_path", str(training.last)]
        return [self.command, *config, "--trainer.default_root_dir", str(folder.path), *self._wandb_options()]

    def _wandb_options(self) -> list[str]:
        settings = {"group": self.training.group, "name": self.rows_name, "tags": json.dumps(self.training.tags)}
        settings |= {"work": str(self.key), "asked": json.dumps(self.asked), "protocol": str(PROTOCOL)}
        settings |= self.wandb
        if self.evaluation is not None and self.evaluation.paper:
            settings["paper"] = json.dumps(self.evaluation.paper)
        return [option for key, value in settings.items() for option in (f"--wandb.{key}", value)]


def rows_name(rows: Sequence[str]) -> str:
    """The first of some rows, and how many more."""
    return rows[0] if len(rows) == 1 else f"{rows[0]} and {len(rows) - 1} more"


def jobs_of(*plans: Plan) -> list[Job]:
    """All jobs of some plans, each once, each after those that it needs."""
    jobs: dict[JobKey, Job] = {}
    for plan in plans:
        for training in plan.trainings:
            for evaluation in (None, *training.evaluations.values()):
                job = Job(training, evaluation, plan.wandb)
                jobs.setdefault(job.key, job)
    return list(jobs.values())
