"""Look at every image of a data set, in processes that may die of one."""

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
        DataError: always.
    """
    raise DataError(f"{dataset.images[index]}: {cause_of_death(dataset, index)}")


def cause_of_death(dataset: SegmentationDataset, index: int) -> str:
    """What is to be said of an image that a process died of."""
    return f"the process that read it and {dataset.mask_files[index]} died; one of them is damaged, or memory too small"


def scan(
    dataset: SegmentationDataset,
    look: Callable[[SegmentationDataset, int], T],
    num_workers: int,
    lost: Callable[[SegmentationDataset, int], T] = fail,
) -> Iterator[T]:
    """What `look` gives for each index of a data set, in order.

    When a process dies, what is left is read image by image until the one is found that it died of.

    Args:
        dataset: to go through.
        look: is called with the data set and an index, in a worker process.
        num_workers: processes, at least one.
        lost: is called in place of `look`, in this process, for an image that a worker died of.

    Raises:
        DataError: a worker died of an image, and `lost` is not given.
    """
    done, at_once = 0, IMAGES_AT_ONCE
    while done < len(dataset):
        steps = [range(start, min(start + at_once, len(dataset))) for start in range(done, len(dataset), at_once)]
        workers = max(1, min(num_workers, len(steps))) if at_once > 1 else 1
        try:
            for values in _read(dataset, look, steps, workers):
                done += len(values)
                yield from values
        except BrokenProcessPool:
            if at_once == 1:
                yield lost(dataset, done)
                done += 1
            at_once = IMAGES_AT_ONCE if at_once == 1 else 1


def _read(
    dataset: SegmentationDataset, look: Callable[[SegmentationDataset, int], T], steps: Sequence[range], workers: int
) -> Iterator[list[T]]:
    """What `look` gives for each step, from processes that take one at a time."""
    pool = ProcessPoolExecutor(workers, get_context("fork"), _begin, (dataset, look, os.getpid()))
    try:
        if len(steps[0]) == 1:  # no step is handed out before the one before it has come back
            for step in steps:
                yield pool.submit(_look, step).result()
        else:
            yield from pool.map(_look, steps)
    finally:
        pool.shutdown(cancel_futures=True)


_task: tuple[SegmentationDataset, Callable[[SegmentationDataset, int], Any]]
"""In a worker: what it looks at, and how."""


def _begin(dataset: SegmentationDataset, look: Callable[[SegmentationDataset, int], Any], parent: int) -> None:
    global _task
    _task = dataset, look
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal: the parent ends this one
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _look(indices: range) -> list[Any]:
    dataset, look = _task
    return [look(dataset, index) for index in indices]


def _end_with(parent: int) -> None:
    """End this process when its parent has, however that ended."""
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os._exit(1)
