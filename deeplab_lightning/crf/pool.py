"""Worker processes that run the CRF in the background. They do not import torch, so that they start fast."""

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
"""A prediction (H, W) and its computing time in seconds."""


def predict(crf: DenseCRF, image: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> Refined:
    """Return the CRF's prediction for an image (H, W, 3) and its probabilities (K, H, W)."""
    start = time.perf_counter()
    prediction = crf(image, probabilities).argmax(0).astype(np.uint8)
    return prediction, time.perf_counter() - start


class CRFPool:
    """A context manager with worker processes that run pydensecrf on submitted images.

    Args:
        crf: The CRF; its engine must be "pydensecrf".
        num_workers: Number of processes; twice as many images may be pending before `submit` waits.

    Raises:
        ValueError: The engine is another one, or the number of processes is below 1.
    """

    def __init__(self, crf: DenseCRF, num_workers: int) -> None:
        if crf.uses_torch:
            raise ValueError(f"worker processes are for engine 'pydensecrf', got {crf.engine!r}")
        if num_workers < 1:
            raise ValueError(f"num_workers must be at least 1, got {num_workers}")
        self.crf, self.num_workers = crf, num_workers
        self._waiting: deque[tuple[Future[Refined], str]] = deque()
        # Spawned, not forked: a fork would copy the locks of a training process's threads, and the GPU's context.
        self._executor = ProcessPoolExecutor(num_workers, get_context("spawn"), start_worker)

    def submit(self, image: NDArray[np.uint8], probabilities: NDArray[np.float32], image_id: str) -> Future[Refined]:
        """Submit an image (H, W, 3) and its probabilities (K, H, W), waiting while the queue is full.

        Raises:
            RuntimeError: A worker died; the message names the images that were being processed.
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
        """Wait for a future of `submit` and return its result.

        Raises:
            RuntimeError: A worker died; the message names the images that were being processed.
        """
        try:
            refined = future.result()
        except BrokenProcessPool as error:
            raise self._death("unknown") from error
        while self._waiting and _succeeded(self._waiting[0][0]):
            self._waiting.popleft()
        return refined

    def close(self) -> None:
        """Stop the workers; images whose computation has not begun are dropped."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> "CRFPool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _death(self, last: str) -> RuntimeError:
        # The executor does not tell which worker died. It was at one of the first images, as they are taken in order.
        begun = [image_id for future, image_id in self._waiting if not _succeeded(future)][: self.num_workers]
        return RuntimeError(
            f"a CRF worker process died at image {' or '.join(begun or [last])}; was there enough memory?"
        )


def _succeeded(future: Future[Any]) -> bool:
    return future.done() and future.exception() is None


def start_worker() -> None:
    """Ignore Ctrl-C, which reaches every process of a terminal but is the parent's to handle; end with the parent.

    Without its parent, a worker would wait for images for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    parent = parent_process()
    assert parent is not None, "a worker has a parent"
    parent.join()
    os._exit(1)
