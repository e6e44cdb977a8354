"""A batch is refined by either engine, and counted in the order of the data."""

import multiprocessing
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
import torch

from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf.refinement import RefinedImage, RefinementQueue, Refiner
from tests.patience import wait_until


@pytest.mark.parametrize("engine", ["torch", "pydensecrf"])
def test_a_batch_is_refined_image_by_image(engine: Any) -> None:
    images = [torch.randint(0, 256, (12, 15, 3), dtype=torch.uint8) for _ in range(3)]
    logits, crf = torch.randn(3, 4, 12, 15), DenseCRF(bilateral_xy=9, bilateral_rgb=30, engine=engine)
    refiner = Refiner(crf)
    refined = [image.result() for image in refiner(images, logits, ["a", "b", "c"])]
    refiner.close()
    for image, own, (prediction, seconds) in zip(images, logits, refined, strict=True):
        assert np.array_equal(prediction, crf(image.numpy(), own.softmax(0).numpy()).argmax(0))
        assert prediction.dtype == np.uint8
        assert seconds > 0
    wait_until(lambda: not multiprocessing.active_children())


def test_half_precision_around_it_changes_nothing() -> None:
    image, logits = torch.randint(0, 256, (9, 9, 3), dtype=torch.uint8), torch.randn(1, 3, 9, 9)
    refiner = Refiner(DenseCRF(bilateral_xy=5))
    (plain,) = refiner([image], logits, ["a"])
    with torch.autocast("cpu", torch.bfloat16):
        (within,) = refiner([image], logits, ["a"])
    assert np.array_equal(plain.result()[0], within.result()[0])


def test_images_are_taken_in_the_order_of_the_data() -> None:
    """The second is done first, and waits for the first."""
    futures: list[Future[Any]] = [Future(), Future(), Future()]
    queue = RefinementQueue()
    queue.add([RefinedImage(future) for future in futures], torch.arange(3).view(3, 1, 1))

    def finish(number: int) -> None:
        futures[number].set_result((np.full((1, 1), number, np.uint8), float(number)))

    def taken(wait: bool = False) -> list[tuple[int, int, float]]:
        return [(int(prediction), int(target), seconds) for prediction, target, seconds in queue.take(wait)]

    finish(1)
    assert taken() == []
    finish(0)
    assert taken() == [(0, 0, 0.0), (1, 1, 1.0)]
    finish(2)
    assert taken(wait=True) == [(2, 2, 2.0)]
    assert taken(wait=True) == []
