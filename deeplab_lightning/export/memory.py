"""The memory that a call takes at its peak, beyond what was in use before it."""

import ctypes
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

Result = TypeVar("Result")
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # proc(5): resets the peak resident set size


def peak_memory(call: Callable[[], Result], device: torch.device) -> tuple[Result, int | None]:
    """Return a call's result and its peak memory in bytes: of the GPU, or on Linux of the process.

    Args:
        call: The call.
        device: Device that it runs on.

    Returns:
        The result, and None for the memory where the system does not tell it.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        result = call()
        torch.cuda.synchronize(device)
        return result, torch.cuda.max_memory_allocated(device) - before
    try:
        ctypes.CDLL(None).malloc_trim(0)  # glibc keeps freed memory, in which the call would grow unseen
        RESET.write_text(RESET_PEAK)
        before = _kilobytes("VmRSS")
    except (AttributeError, OSError, TypeError):  # no glibc, no Linux, no right to; TypeError is Windows'
        return call(), None
    result = call()
    return result, 1024 * max(0, _kilobytes("VmHWM") - before)


def _kilobytes(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"{STATUS} has no {name}")
    return int(found[1])
