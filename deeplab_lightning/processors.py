"""The processors that this process may use, and the threads that torch runs on them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


def count_processors() -> int:
    """Return the number of processors of this process: those that it may run on, as SLURM and taskset set them.

    Processes that torchrun starts on one machine share them; it tells their number as LOCAL_WORLD_SIZE.
    """
    has_affinity = hasattr(os, "sched_getaffinity")  # macOS has none
    processors = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return max(1, processors // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def set_threads(number: int) -> None:
    """Set the number of threads that torch uses for the operations of this thread, and of no other.

    A thread that has not asked for the number yet would take over the one that any thread set last.
    """
    import torch

    torch.get_num_threads()
    torch.set_num_threads(number)


@contextmanager
def threads(number: int | None) -> Iterator[int]:
    """Run with a number of threads for each operation; torch's own choice if not given. Yield the number."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
