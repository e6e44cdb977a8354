"""What becomes of the memory that the CRF frees on the CPU."""

import ctypes
import sys
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""The names of malloc.h."""
TABLE, KEPT = 1 << 26, 1 << 28
"""Bytes of the largest table that is taken from kept memory, and of the memory that is kept."""


@cache
def keep_freed_memory() -> bool:
    """Let malloc keep up to 256 MiB of freed memory for later, in this process, and return whether it does.

    One inference takes and frees about a hundred tables of 10 to 30 MB. By default, glibc returns the memory of each to
    the system, from which the next one gets it page by page and filled with zeros. That is a quarter of the whole time
    (experiments/benchmarks/README.md). Other C libraries are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(M_MMAP_THRESHOLD, TABLE) and mallopt(M_TRIM_THRESHOLD, KEPT))
