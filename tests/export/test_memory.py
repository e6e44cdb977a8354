"""The peak of the memory of a call."""

import sys
from pathlib import Path

import pytest
import torch

from deeplab_lightning.export import memory
from deeplab_lightning.export.memory import peak_memory

CPU = torch.device("cpu")
MEGABYTES = 1_000_000


def touch(megabytes: int) -> int:
    return int(torch.ones(megabytes * MEGABYTES // 4).sum())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it")
def test_the_peak_is_that_of_the_call() -> None:
    result, peak = peak_memory(lambda: touch(80), CPU)
    assert result == 20 * MEGABYTES
    if peak is None:
        pytest.skip("/proc/self/clear_refs cannot be written here")
    assert 75 * MEGABYTES < peak < 130 * MEGABYTES
    kept = torch.ones(20 * MEGABYTES)
    _, small = peak_memory(lambda: touch(8), CPU)
    assert small is not None
    assert small < 40 * MEGABYTES < kept.nbytes


def test_a_system_that_does_not_tell_runs_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "STATUS", Path("/nowhere/status"))
    assert peak_memory(lambda: 3, CPU) == (3, None)
