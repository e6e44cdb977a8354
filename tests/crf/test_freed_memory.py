"""The memory that malloc keeps, in a process of its own, because it lasts as long as the process."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource, sys
from deeplab_lightning.crf.freed_memory import keep_freed_memory

def pages_brought_in():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        tables = [bytearray(30 << 20) for _ in range(3)]
        del tables
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(pages_brought_in(), keep_freed_memory(), pages_brought_in())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_tables_get_the_memory_of_those_before() -> None:
    printed = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    before, is_kept, after = printed.split()
    assert is_kept == "True"
    assert int(after) < int(before) / 2
