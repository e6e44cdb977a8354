"""Processes that run the CRF while this one does something else. They import no torch, so that they start at once."""

import os
import signal
import threading
import time
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplab_lightning.crf.dense_crf import DenseCRF

Refined = tuple[NDArray[np.uint8], float]
"""A prediction (H, W) and the seconds that it took."""


def predict(crf: DenseCRF, image: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> Refined:
    """The CRF's prediction for an image (H, W, 3) and its probabilities (K, H, W)."""
    start = time.perf_counter()
    prediction = crf(image, probabilities).argmax(0).astype(np.uint8)
    return prediction, time.perf_counter() - start


class CRFPool:
    """Worker processes that run pydensecrf on the images handed to them; a context manager.

    Args:
        crf: The CRF; its engine must be "pydensecrf".
        num_workers: Number of processes; twice as many images may be in work before `submit` waits.

    Raises:
        ValueError: The engine is another one, or there is no process.
    """

    def __init__(self, crf: DenseCRF, num_workers: int) -> None:
        if crf.uses_torch:
            raise ValueError(f"worker processes are for engine 'pydensecrf', got {crf.engine!r}")
        if num_workers < 1:
            raise ValueError(f"num_workers must be at least 1, got {num_workers}")
        self.crf, self.num_workers = crf, num_workers
        self._waiting: deque[tuple[Future[Refined], str]] = deque()
        # spawned, not forked: a fork would copy the threads' locks of a process that trains, and the GPU's context
        self._executor = ProcessPoolExecutor(num_workers, get_context("spawn"), start_worker)

    def submit(self, image: NDArray[np.uint8], probabilities: NDArray[np.float32], image_id: str) -> Future[Refined]:
        """Hand over an image (H, W, 3) and its probabilities (K, H, W), waiting while the queue is full.

        Raises:
            RuntimeError: A worker died; the message names the images in work.
        """
        while len(self._waiting) >= 2 * self.num_workers:
            self.result(self._waiting[0][0])
        try:
            future = self._executor.submit(predict, self.crf, image, probabilities)
        except BrokenProcessPool as error:
            raise self._death(image_id) from error
        self._waiting.append((future, image_id))
        return future

    def result(self, future: Future[Refined]) -> Refined:
        """Wait for a future of `submit`.

        Raises:
            RuntimeError: A worker died; the message names the images in work.
        """
        try:
            refined = future.result()
        except BrokenProcessPool as error:
            raise self._death("in work") from error
        while self._waiting and _succeeded(self._waiting[0][0]):
            self._waiting.popleft()
        return refined

    def close(self) -> None:
        """Let the workers end; images not yet begun are dropped."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> "CRFPool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _death(self, last: str) -> RuntimeError:
        begun = [image_id for future, image_id in self._waiting if not _succeeded(future)][: self.num_workers]
        return RuntimeError(
            f"a CRF worker process died at image {' or '.join(begun or [last])}; was the memory enough?"
        )


def _succeeded(future: Future[Any]) -> bool:
    return future.done() and future.exception() is None


def start_worker() -> None:
    """Leave Ctrl-C, which reaches every process of a terminal, to the parent, and end when the parent ends.

    Without its parent a worker would wait for images for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    parent = parent_process()
    assert parent is not None, "a worker has a parent"
    parent.join()
    os._exit(1)
