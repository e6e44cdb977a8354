"""The submission of the parts of tables as one SLURM array job."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from deeplab_lightning.extras import require

MAX_TIMEOUTS = 100  # times that a task may be requeued after its time limit


class Task:
    """One task of the array. It runs `deeplab`; shortly before the time limit, it saves and requeues itself.

    Args:
        options: The words of the command line that follow `deeplab`.

    Attributes:
        process: The running `deeplab`; None before the task is called.
    """

    def __init__(self, options: list[str]) -> None:
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        """Run `deeplab` until it ends.

        Raises:
            RuntimeError: The exit status is not 0.
        """
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
            os.killpg(self.process.pid, signal.SIGINT)
            # This method runs in a signal handler during `wait` in `__call__`. WNOWAIT leaves the exit status to it.
            os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        return DelayedSubmission(Task(self.options))


def submit(commands: list[list[str]], folder: Path, settings: dict[str, Any]) -> list[str]:
    """Submit one task for each command line.

    Args:
        commands: The command lines, without the leading `deeplab`.
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
        jobs = [executor.submit(Task(options)) for options in commands]
    return [str(job.job_id) for job in jobs]
