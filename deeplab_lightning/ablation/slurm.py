"""Chains of rows as one array job of SLURM."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

MAX_TIMEOUTS = 100  # jobs that one chain may take, each of the time that was asked for


class Task:
    """One task of the array: runs `deeplab`, and before its time is up lets it save and puts itself in the queue again.

    Args:
        options: the command line after `deeplab`.
    """

    def __init__(self, options: list[str]) -> None:
        self.options = options
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        """Run until it is done.

        Raises:
            RuntimeError: something failed.
        """
        # by SLURM_NTASKS Lightning would take the task for one process of a training that SLURM has started
        environment = {name: value for name, value in os.environ.items() if name != "SLURM_NTASKS"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "deeplab_lightning", *self.options],
            env=environment,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN),  # is for this process, which passes it on
        )
        status = self._process.wait()
        if status:
            raise RuntimeError(f"deeplab {' '.join(self.options)}: status {status}")

    def checkpoint(self) -> Any:
        """Stop as on Ctrl-C, and say how to go on; submitit calls it on the signal that comes before the end."""
        from submitit.helpers import DelayedSubmission

        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGINT)
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        return DelayedSubmission(Task(self.options))


def submit(commands: list[list[str]], folder: Path, settings: dict[str, Any]) -> list[str]:
    """Submit one task for each command line; their ids.

    Args:
        commands: after `deeplab`.
        folder: where submitit keeps its files and the tasks' output.
        settings: of sbatch, by submitit's names: partition, time (minutes), gpus_per_node, cpus_per_task, ...
    """
    from submitit import SlurmExecutor

    executor = SlurmExecutor(folder, max_num_timeout=MAX_TIMEOUTS)
    executor.update_parameters(**{"job_name": "deeplab"} | settings)
    with executor.batch():
        jobs = [executor.submit(Task(options)) for options in commands]
    return [str(job.job_id) for job in jobs]
