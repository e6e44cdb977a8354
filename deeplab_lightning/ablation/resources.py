"""The devices of a machine, divided among jobs that run at the same time."""

import os
from dataclasses import dataclass

from deeplab_lightning.processors import count_processors


@dataclass(frozen=True)
class Resources:
    """The CPU threads and the GPUs of one job.

    Args:
        threads: The number of CPU threads; None to leave the environment as it is.
        gpus: The names of the GPUs in the form of CUDA_VISIBLE_DEVICES; None to leave the environment as it is.
    """

    threads: int | None = None
    gpus: tuple[str, ...] | None = None

    def environment(self) -> dict[str, str]:
        """The environment variables that restrict a process to these resources."""
        variables: dict[str, str] = {}
        if self.threads is not None:
            variables["OMP_NUM_THREADS"] = str(self.threads)
        if self.gpus is not None:
            variables["CUDA_VISIBLE_DEVICES"] = ",".join(self.gpus)
        return variables


WHOLE_MACHINE = Resources()


def split_devices(jobs: int | None) -> list[Resources]:
    """Divide the machine into the resources of `jobs` simultaneous jobs; by default one job for each GPU.

    With more jobs than GPUs, several jobs share a GPU. With fewer, a job has several GPUs, which share its batch.
    """
    gpus = _gpus()
    jobs = jobs or max(1, len(gpus))
    threads = int(os.environ.get("OMP_NUM_THREADS", count_processors()))
    own_threads = max(1, threads // jobs)
    if not gpus:
        return [Resources(own_threads)] * jobs
    if jobs > len(gpus):
        return [Resources(own_threads, (gpus[job % len(gpus)],)) for job in range(jobs)]
    return [Resources(own_threads, tuple(gpus[job::jobs])) for job in range(jobs)]


def _gpus() -> list[str]:
    """The names of the GPUs that this process may use, in the form of CUDA_VISIBLE_DEVICES."""
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(number) for number in range(torch.cuda.device_count())] if given is None else given.split(",")
    return names[: torch.cuda.device_count()]
