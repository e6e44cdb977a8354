"""The jobs of a plan. Each job is one process of `deeplab`: a training or an evaluation."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deeplab_lightning.ablation.plan import Evaluation, Plan, Training
from deeplab_lightning.ablation.protocol import PROTOCOL
from deeplab_lightning.run_folder import JobFolder, JobKey


@dataclass(frozen=True)
class Job:
    """One process: a training, the download of published weights in place of one, or one of the evaluations.

    Args:
        training: The training to run, or the training whose weights are scored.
        evaluation: The evaluation to run; None where the job is the training itself.
        wandb: Further settings of the job's run in Weights & Biases.
    """

    training: Training
    evaluation: Evaluation | None
    wandb: Mapping[str, str]

    @property
    def key(self) -> JobKey:
        """The key under which the job's folder and outcome are found."""
        if self.evaluation is None:
            return self.training.key
        return JobKey(self.training.name, self.evaluation.digest)

    @property
    def command(self) -> str:
        """The subcommand of `deeplab` that runs the job, such as "fit"."""
        if self.evaluation is not None:
            return self.evaluation.command
        return "fit" if self.training.weights is None else "weights"

    @property
    def asked(self) -> list[str]:
        """The hashes of the settings as the tables give them. They identify the job under an older protocol."""
        return self.training.asked if self.evaluation is None else self.evaluation.asked

    @property
    def needs(self) -> Training | None:
        """The training that must be done before this job starts; None where there is none."""
        return self.training.source if self.evaluation is None else self.training

    @property
    def is_shared(self) -> bool:
        """Whether machines share the job's result. Each one downloads published weights into a cache of its own."""
        return self.command != "weights"

    @property
    def rows_name(self) -> str:
        """The name of the first row that the job serves, and the number of further rows."""
        return rows_name(self.training.rows if self.evaluation is None else self.evaluation.rows)

    def folder(self, root: Path) -> JobFolder:
        """The folder of this job's files, below the root folder of all jobs."""
        return JobFolder.of(root, self.key)

    def options(self, root: Path) -> list[str]:
        """The words of the command line that follow `deeplab`."""
        training, folder = JobFolder.of(root, self.training.key), self.folder(root)
        config = ["-c", str(training.config)]
        if self.evaluation is None:
            if self.training.weights is not None:
                return [self.command, "get", self.training.weights]
            return [self.command, *config, "--ckpt_path", "last", *self._wandb_options()]
        config += ["-c", str(folder.evaluate), "--ckpt_path", self.training.weights or str(training.last)]
        return [self.command, *config, "--trainer.default_root_dir", str(folder.path), *self._wandb_options()]

    def _wandb_options(self) -> list[str]:
        settings = {"group": self.training.group, "name": self.rows_name, "tags": json.dumps(self.training.tags)}
        settings |= {"work": str(self.key), "asked": json.dumps(self.asked), "protocol": str(PROTOCOL)}
        settings |= self.wandb
        if self.evaluation is not None and self.evaluation.paper:
            settings["paper"] = json.dumps(self.evaluation.paper)
        return [option for key, value in settings.items() for option in (f"--wandb.{key}", value)]


def rows_name(rows: Sequence[str]) -> str:
    """The name of the first row, and the number of further rows."""
    return rows[0] if len(rows) == 1 else f"{rows[0]} and {len(rows) - 1} more"


def jobs_of(*plans: Plan) -> list[Job]:
    """All jobs of some plans. Each job appears once, after the jobs that it needs."""
    jobs: dict[JobKey, Job] = {}
    for plan in plans:
        for training in plan.trainings:
            for evaluation in (None, *training.evaluations.values()):
                job = Job(training, evaluation, plan.wandb)
                jobs.setdefault(job.key, job)
    return list(jobs.values())
