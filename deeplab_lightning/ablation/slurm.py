"""The submission of the parts of tables as one SLURM array job."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from deeplab_lightning.ablation.sweep import Part
from deeplab_lightning.extras import require
from deeplab_lightning.run_folder import JobFolder, JobKey

MAX_TIMEOUTS = 100  # times that a task may be requeued after its time limit


class Task:
    """One task of the array. It runs `deeplab`; shortly before the time limit, it saves and requeues itself.

    A task that finds no more done than at its last start would repeat the same start for ever, so it fails.

    Args:
        options: The words of the command line that follow `deeplab`.
        folders: The folders of the trainings that the task runs.
        found: The state of those folders at the last start, as `progress` returns it; None for the first start.

    Attributes:
        process: The running `deeplab`; None before the task is called.
    """

    def __init__(
        self, options: list[str], folders: Sequence[JobFolder] = (), found: dict[str, int] | None = None
    ) -> None:
        self.options, self.folders, self.found = options, folders, found
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        """Run `deeplab` until it ends.

        Raises:
            RuntimeError: The exit status is not 0, or the time limit is too short to make progress.
        """
        before, self.found = self.found, progress(self.folders)
        if self.found == before:
            raise RuntimeError(
                f"deeplab {' '.join(self.options)}: no step of a training and no evaluation was finished before the "
                "time limit; submit it again with a longer time"
            )
        # With SLURM_NTASKS set, Lightning would take this process for one rank of a training that srun started.
        environment = {name: value for name, value in os.environ.items() if name != "SLURM_NTASKS"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deeplab_lightning", *self.options],
            env=environment,
            start_new_session=True,
            # SLURM sends SIGUSR2 to all processes of the task. Only this one handles it, by calling `checkpoint`.
            preexec_fn=lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN),
        )
        status = self.process.wait()
        if status:
            raise RuntimeError(f"deeplab {' '.join(self.options)}: status {status}")

    def checkpoint(self) -> Any:
        """Stop `deeplab` as Ctrl-C would and return a new submission; submitit calls it before the time limit."""
        from submitit.helpers import DelayedSubmission

        if self.process is not None:
            with suppress(ProcessLookupError, ChildProcessError):  # it may end just before the signal
                os.killpg(self.process.pid, signal.SIGINT)
                # This runs in a signal handler during `wait` in `__call__`; WNOWAIT leaves the exit status to it.
                os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        return DelayedSubmission(Task(self.options, self.folders, self.found))


def progress(folders: Sequence[JobFolder]) -> dict[str, int]:
    """The times of all checkpoints and records of finished jobs; equal if nothing was done in between.

    A training writes its checkpoint only after a new step, also when it is interrupted.

    Args:
        folders: The folders of some trainings.

    Returns:
        Times in nanoseconds since 1970 by path.
    """
    evaluations = [evaluation for folder in folders for evaluation in folder.evaluations()]
    files = [file for folder in folders for file in (folder.last, folder.done)] + [each.done for each in evaluations]
    return {str(file): file.stat().st_mtime_ns for file in files if file.is_file()}


def submit(
    parts: Sequence[Part], common: Sequence[str], root: Path, *, folder: Path, settings: dict[str, Any]
) -> list[str]:
    """Submit one task for each part.

    Args:
        parts: The parts of the tables.
        common: The words of the command line that are the same for all parts.
        root: The folder that contains the folders of all jobs.
        folder: The folder for submitit's files and the tasks' output.
        settings: The settings of sbatch by submitit's names: partition, time (minutes), gpus_per_node, cpus_per_task.

    Returns:
        The SLURM IDs of the tasks.
    """
    require("slurm", "--launcher slurm")
    from submitit import SlurmExecutor

    executor = SlurmExecutor(folder, max_num_timeout=MAX_TIMEOUTS)
    executor.update_parameters(**{"job_name": "deeplab"} | settings)
    with executor.batch():
        jobs = [
            executor.submit(
                Task(part.options(common), [JobFolder.of(root, JobKey(name)) for name in sorted(part.trainings)])
            )
            for part in parts
        ]
    return [str(job.job_id) for job in jobs]
