import os

import pytest
import torch

from deeplab_lightning.ablation.resources import split_devices


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Eight cores, four GPUs."""
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    return monkeypatch


def test_a_job_for_each_gpu(machine: pytest.MonkeyPatch) -> None:
    assert split_devices(None) == [{"OMP_NUM_THREADS": "2", "CUDA_VISIBLE_DEVICES": str(gpu)} for gpu in range(4)]


def test_fewer_and_more_jobs_than_gpus(machine: pytest.MonkeyPatch) -> None:
    assert [share["CUDA_VISIBLE_DEVICES"] for share in split_devices(2)] == ["0,2", "1,3"]
    assert [share["CUDA_VISIBLE_DEVICES"] for share in split_devices(5)] == ["0", "1", "2", "3", "0"]


def test_only_the_gpus_that_were_given(machine: pytest.MonkeyPatch) -> None:
    machine.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    machine.setattr(torch.cuda, "device_count", lambda: 2)
    assert [share["CUDA_VISIBLE_DEVICES"] for share in split_devices(None)] == ["5", "7"]


def test_without_gpus_the_threads_are_split(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(torch.cuda, "device_count", lambda: 0)
    assert split_devices(None) == [{"OMP_NUM_THREADS": "8"}]
    assert split_devices(3) == [{"OMP_NUM_THREADS": "2"}] * 3
    machine.setenv("OMP_NUM_THREADS", "1")
    assert split_devices(2) == [{"OMP_NUM_THREADS": "1"}] * 2
