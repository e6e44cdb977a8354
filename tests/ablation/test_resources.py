import os

import pytest
import torch

from deeplab_lightning.ablation.resources import WHOLE_MACHINE, Resources, split_devices


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Eight cores, four GPUs."""
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    return monkeypatch


def test_a_job_for_each_gpu(machine: pytest.MonkeyPatch) -> None:
    assert split_devices(None) == [Resources(2, (str(gpu),)) for gpu in range(4)]


def test_fewer_and_more_jobs_than_gpus(machine: pytest.MonkeyPatch) -> None:
    assert [each.gpus for each in split_devices(2)] == [("0", "2"), ("1", "3")]
    assert [each.gpus for each in split_devices(5)] == [("0",), ("1",), ("2",), ("3",), ("0",)]


def test_only_visible_gpus_are_used(machine: pytest.MonkeyPatch) -> None:
    machine.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    machine.setattr(torch.cuda, "device_count", lambda: 2)
    assert [each.gpus for each in split_devices(None)] == [("5",), ("7",)]


def test_without_gpus_the_threads_are_split(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(torch.cuda, "device_count", lambda: 0)
    assert split_devices(None) == [Resources(8)]
    assert split_devices(3) == [Resources(2)] * 3
    machine.setenv("OMP_NUM_THREADS", "1")
    assert split_devices(2) == [Resources(1)] * 2


def test_resources_become_environment_variables() -> None:
    assert Resources(2, ("1", "3")).environment() == {"OMP_NUM_THREADS": "2", "CUDA_VISIBLE_DEVICES": "1,3"}
    assert WHOLE_MACHINE.environment() == {}
