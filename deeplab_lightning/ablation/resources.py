"""The machine's devices, divided among jobs that run side by side."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Resources:
    """One job's part of the machine.

    Args:
        threads: The number of threads of the processor; None for what the environment says.
        gpus: The names of the GPUs as CUDA_VISIBLE_DEVICES has them; None for what the environment says.
    """

    threads: int | None = None
    gpus: tuple[str, ...] | None = None

    def environment(self) -> dict[str, str]:
        """The environment variables that give a process its part."""
        variables: dict[str, str] = {}
        if self.threads is not None:
            variables["OMP_NUM_THREADS"] = str(self.threads)
        if self.gpus is not None:
            variables["CUDA_VISIBLE_DEVICES"] = ",".join(self.gpus)
        return variables


WHOLE_MACHINE = Resources()


def split_devices(jobs: int | None) -> list[Resources]:
    """The resources of so many jobs at a time; by default there is one job for each device.

    More jobs than GPUs take turns on them. With fewer jobs than GPUs the GPUs of a job share its batch.
    """
    gpus = _gpus()
    jobs = jobs or max(1, len(gpus))
    threads = int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0))))
    own_threads = max(1, threads // jobs)
    if not gpus:
        return [Resources(own_threads)] * jobs
    if jobs > len(gpus):
        return [Resources(own_threads, (gpus[job % len(gpus)],)) for job in range(jobs)]
    return [Resources(own_threads, tuple(gpus[job::jobs])) for job in range(jobs)]


def _gpus() -> list[str]:
    """The names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES has them."""
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(number) for number in range(torch.cuda.device_count())] if given is None else given.split(",")
    return names[: torch.cuda.device_count()]
