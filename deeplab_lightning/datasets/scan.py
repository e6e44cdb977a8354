"""Call a function for every image of a data set, in processes that may die of one."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, NoReturn, TypeVar

from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.segmentation import SegmentationDataset

T = TypeVar("T")
IMAGES_AT_ONCE = 16
POLL_SECONDS = 1.0


def fail(dataset: SegmentationDataset, index: int) -> NoReturn:
    """Name the image that a process died of.

    Raises:
        DataError: Always.
    """
    raise DataError(cause_of_death(dataset, index), dataset.images[index])


def cause_of_death(dataset: SegmentationDataset, index: int) -> str:
    """The fault of an image that a process died of, as a sentence."""
    return f"the process that read it and {dataset.mask_files[index]} died; one of them is damaged, or memory too small"


def scan(
    dataset: SegmentationDataset,
    function: Callable[[SegmentationDataset, int], T],
    num_workers: int,
    on_death: Callable[[SegmentationDataset, int], T] = fail,
) -> Iterator[T]:
    """The value of a function for each index of a data set, in order.

    When a process dies, the images that remain are read one by one until the one that it died of is found.

    Args:
        dataset: The data set.
        function: Function of the data set and an index; it is called in a worker process.
        num_workers: Number of processes; 0 means one.
        on_death: Function that takes its place, in this process, for an image that a worker died of.

    Raises:
        DataError: A worker died of an image, and `on_death` is not given.
    """
    done, at_once = 0, IMAGES_AT_ONCE
    while done < len(dataset):
        steps = [range(start, min(start + at_once, len(dataset))) for start in range(done, len(dataset), at_once)]
        workers = max(1, min(num_workers, len(steps))) if at_once > 1 else 1
        try:
            for values in _read(dataset, function, steps, workers):
                done += len(values)
                yield from values
        except BrokenProcessPool:
            if at_once == 1:
                yield on_death(dataset, done)
                done += 1
            at_once = IMAGES_AT_ONCE if at_once == 1 else 1


def _read(
    dataset: SegmentationDataset,
    function: Callable[[SegmentationDataset, int], T],
    steps: Sequence[range],
    workers: int,
) -> Iterator[list[T]]:
    """The values of each step, from processes that take one step at a time."""
    pool = ProcessPoolExecutor(workers, get_context("fork"), _begin, (dataset, function, os.getpid()))
    try:
        if len(steps[0]) == 1:  # one at a time, so that a death is that of the step which is out
            for step in steps:
                yield pool.submit(_values, step).result()
        else:
            yield from pool.map(_values, steps)
    finally:
        pool.shutdown(cancel_futures=True)


_task: tuple[SegmentationDataset, Callable[[SegmentationDataset, int], Any]]
"""In a worker: its data set and its function."""


def _begin(dataset: SegmentationDataset, function: Callable[[SegmentationDataset, int], Any], parent: int) -> None:
    global _task
    _task = dataset, function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal: the parent ends this one
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _values(indices: range) -> list[Any]:
    dataset, function = _task
    return [function(dataset, index) for index in indices]


def _end_with(parent: int) -> None:
    """End this process when its parent has ended, in whatever way."""
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os._exit(1)
