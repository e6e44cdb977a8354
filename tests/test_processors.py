import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from deeplab_lightning.processors import count_processors, set_threads, threads


@pytest.mark.parametrize(("processes", "expected"), [(None, 6), ("2", 3), ("4", 1), ("8", 1)])
def test_the_processors_are_those_that_the_process_may_run_on(
    processes: str | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if processes:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert count_processors() == expected


def test_processors_are_counted_in_one_place() -> None:
    root = Path(__file__).parents[1]
    files = [path for folder in ("deeplab_lightning", "experiments") for path in (root / folder).rglob("*.py")]
    assert [path.name for path in files if "cpu_count(" in path.read_text()] == ["processors.py"]


def test_a_number_of_threads_is_for_a_while() -> None:
    before = torch.get_num_threads()
    with threads(3) as number:
        assert (number, torch.get_num_threads()) == (3, 3)
    assert torch.get_num_threads() == before
    with threads(None) as number:
        assert number == before


def test_a_thread_keeps_its_number_of_threads() -> None:
    with ThreadPoolExecutor(1, initializer=set_threads, initargs=(2,)) as pool:
        pool.submit(int).result()
        with threads(3):
            assert pool.submit(torch.get_num_threads).result() == 2
