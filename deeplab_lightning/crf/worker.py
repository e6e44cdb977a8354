"""What a CRF worker process runs. It imports neither torch nor Lightning, so that it starts at once."""

import signal
import time

import numpy as np
from numpy.typing import NDArray

from deeplab_lightning.crf.dense_crf import DenseCRF

Refined = tuple[NDArray[np.uint8], float]
"""A prediction (H, W) and the seconds it took."""


def start_worker() -> None:
    """Leave Ctrl-C, which reaches every process of a terminal, to the main process: it stops its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def refine(crf: DenseCRF, image: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> Refined:
    """The CRF's prediction for an image (H, W, 3) and its probabilities (K, H, W)."""
    start = time.perf_counter()
    prediction = crf(image, probabilities).argmax(0).astype(np.uint8)
    return prediction, time.perf_counter() - start
