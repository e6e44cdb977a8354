"""Call a function for every image of a data set, in worker processes that a damaged image may kill."""

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
    """Raise the fault of an image on which a worker process died.

    Raises:
        DataError: Always.
    """
    raise DataError(cause_of_death(dataset, index), dataset.images[index])


def cause_of_death(dataset: SegmentationDataset, index: int) -> str:
    """The sentence about an image on which a worker process died."""
    return (
        f"the process that read it and {dataset.mask_files[index]} died; one of the two is damaged, or there is too "
        "little memory"
    )


def scan(
    dataset: SegmentationDataset,
    function: Callable[[SegmentationDataset, int], T],
    num_workers: int,
    on_death: Callable[[SegmentationDataset, int], T] = fail,
) -> Iterator[T]:
    """The value of a function for each index of a data set, in order.

    When a worker dies, the remaining images are read one by one until the image that killed it is found.

    Args:
        dataset: Data set whose images are scanned.
        function: Function of the data set and an index; it is called in a worker process.
        num_workers: Number of worker processes; 0 means one.
        on_death: Function that is called instead, in this process, for an image on which a worker died.

    Raises:
        DataError: A worker died on an image, and `on_death` is not given.
    """
    # A dead worker breaks the whole pool, which does not say at which image. So a new pool reads one image at a time;
    # after the culprit is found, the steps are long again.
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
        if len(steps[0]) == 1:  # submit one at a time, so that a death belongs to the step just submitted
            for step in steps:
                yield pool.submit(_values, step).result()
        else:
            yield from pool.map(_values, steps)
    finally:
        pool.shutdown(cancel_futures=True)


_task: tuple[SegmentationDataset, Callable[[SegmentationDataset, int], Any]]
"""The data set and the function of a worker process."""


def _begin(dataset: SegmentationDataset, function: Callable[[SegmentationDataset, int], Any], parent: int) -> None:
    global _task
    _task = dataset, function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent ends this one
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _values(indices: range) -> list[Any]:
    dataset, function = _task
    return [function(dataset, index) for index in indices]


def _end_with(parent: int) -> None:
    """End this process when its parent has ended, in whatever way."""
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os._exit(1)
