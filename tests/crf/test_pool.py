import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deeplab_lightning.crf import pool
from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf.pool import CRFPool
from tests.patience import printed_until_all_have_ended, wait_until

CRF = DenseCRF(3, 10, 20, 1, 1, engine="pydensecrf")


def image_and_probabilities(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    powers = np.exp(rng.normal(size=(3, 20, 24)))
    return rng.integers(0, 256, (20, 24, 3), np.uint8), (powers / powers.sum(0)).astype(np.float32)


def test_it_gives_what_a_plain_call_gives_and_leaves_no_process() -> None:
    with CRFPool(CRF, 2) as workers:
        inputs = [image_and_probabilities(seed) for seed in range(8)]
        inputs[0] = inputs[0][0][::-1, ::-1], inputs[0][1][:, ::-1, ::-1]
        futures = [workers.submit(*pair, f"image {seed}") for seed, pair in enumerate(inputs)]
        for pair, future in zip(inputs, futures, strict=True):
            prediction, seconds = workers.result(future)
            assert prediction.dtype == np.uint8
            assert np.array_equal(prediction, CRF(*pair).argmax(0))
            assert seconds > 0
    wait_until(lambda: not multiprocessing.active_children())


def test_the_queue_is_bounded() -> None:
    with CRFPool(CRF, 1) as workers:
        futures = []
        for seed in range(6):
            futures.append(workers.submit(*image_and_probabilities(seed), str(seed)))
            assert sum(not future.done() for future in futures) <= 2


def test_a_worker_that_dies_is_named_with_its_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "predict", die_at_value_255)
    bright = np.full((20, 24, 3), 255, np.uint8)
    probabilities = image_and_probabilities(0)[1]
    with CRFPool(CRF, 1) as workers:
        workers.submit(0 * bright, probabilities, "the dark one")
        future = workers.submit(bright, probabilities, "the bright one")
        with pytest.raises(RuntimeError, match="image the bright one;"):
            workers.result(future)
    wait_until(lambda: not multiprocessing.active_children())


def die(*_: Any) -> None:
    """The end of a worker, which imports this file alone: one with torch would take seconds to start."""
    os._exit(1)


def die_at_value_255(crf: DenseCRF, image: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> Any:
    if image.max() == 255:
        die()
    return probabilities.argmax(0).astype(np.uint8), 0.0


def test_an_error_of_one_image_is_raised_as_it_is() -> None:
    image, probabilities = image_and_probabilities(0)
    with CRFPool(CRF, 1) as workers, pytest.raises(ValueError, match="misses 1 by 1"):
        workers.result(workers.submit(image, probabilities * 2, "wrong"))
    wait_until(lambda: not multiprocessing.active_children())


def test_invalid_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="'auto'"):
        CRFPool(DenseCRF(), 1)
    with pytest.raises(ValueError, match="num_workers .*0"):
        CRFPool(CRF, 0)


def test_worker_processes_load_neither_torch_nor_lightning() -> None:
    with ProcessPoolExecutor(1, get_context("spawn"), pool.start_worker) as executor:
        image, probabilities = image_and_probabilities(0)
        assert executor.submit(pool.predict, CRF, image, probabilities).result()[0].shape == (20, 24)
        loaded = executor.submit(eval, "{'torch', 'lightning'} & set(__import__('sys').modules)").result()
    assert loaded == set()


KILLED = """
import os, signal
from tests.crf.test_pool import CRF, CRFPool, image_and_probabilities
workers = CRFPool(CRF, 2)
for future in [workers.submit(*image_and_probabilities(seed), str(seed)) for seed in range(2)]:
    workers.result(future)
print("at work", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_with_a_parent_that_is_killed() -> None:
    assert printed_until_all_have_ended(KILLED) == "at work\n"
