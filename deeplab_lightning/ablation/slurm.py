"""Parts of tables as one array job of SLURM."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

MAX_TIMEOUTS = 100  # jobs that one task may take, each of the time that was asked for


class Task:
    """One task of the array: runs `deeplab`, and before its time is up lets it save and puts itself in the queue again.

    Args:
        options: The command line after `deeplab`.

    Attributes:
        process: The running `deeplab`; None before the task is called.
    """

    def __init__(self, options: list[str]) -> None:
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        """Run until it is done.

        Raises:
            RuntimeError: It ended with a status other than 0.
        """
        # With SLURM_NTASKS Lightning would take the task for one process of a training that SLURM has started.
        environment = {name: value for name, value in os.environ.items() if name != "SLURM_NTASKS"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deeplab_lightning", *self.options],
            env=environment,
            start_new_session=True,
            # SLURM sends SIGUSR2 to all processes of the task; it is for this one alone, which then calls `checkpoint`
            preexec_fn=lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN),
        )
        status = self.process.wait()
        if status:
            raise RuntimeError(f"deeplab {' '.join(self.options)}: status {status}")

    def checkpoint(self) -> Any:
        """Stop as on Ctrl-C, and return how to go on; submitit calls it on the signal that comes before the end."""
        from submitit.helpers import DelayedSubmission

        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGINT)
            # WNOWAIT leaves the status to `wait` in `__call__`, which this interrupts
            os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        return DelayedSubmission(Task(self.options))


def submit(commands: list[list[str]], folder: Path, settings: dict[str, Any]) -> list[str]:
    """Submit one task for each command line.

    Args:
        commands: The command lines after `deeplab`.
        folder: The folder for submitit's files and the tasks' output.
        settings: The settings of sbatch by submitit's names: partition, time (minutes), gpus_per_node, cpus_per_task.

    Returns:
        The ids of the tasks.
    """
    from submitit import SlurmExecutor

    executor = SlurmExecutor(folder, max_num_timeout=MAX_TIMEOUTS)
    executor.update_parameters(**{"job_name": "deeplab"} | settings)
    with executor.batch():
        jobs = [executor.submit(Task(options)) for options in commands]
    return [str(job.job_id) for job in jobs]
