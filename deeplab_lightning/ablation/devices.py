"""The machine's devices, split among pieces of work that run side by side."""

import os

from deeplab_lightning.ablation.runner import Share


def split_devices(jobs: int | None) -> list[Share]:
    """Shares for so many pieces of work at a time: GPUs, and threads of the processor; default: one for each device.

    More jobs than GPUs take turns on them. With fewer jobs than GPUs the GPUs of a job share its batch.
    """
    devices = _gpus()
    jobs = jobs or max(1, len(devices))
    threads = int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0))))
    shares: list[Share] = []
    for job in range(jobs):
        share = {"OMP_NUM_THREADS": str(max(1, threads // jobs))}
        if devices:
            share["CUDA_VISIBLE_DEVICES"] = ",".join(devices[job::jobs] or [devices[job % len(devices)]])
        shares.append(share)
    return shares


def _gpus() -> list[str]:
    """Names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES has them."""
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(number) for number in range(torch.cuda.device_count())] if given is None else given.split(",")
    return names[: torch.cuda.device_count()]
