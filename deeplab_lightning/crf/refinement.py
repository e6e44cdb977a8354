"""The CRF's refinement of a batch of predictions: torch does it at once, pydensecrf while the network goes on."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import torch
from torch import Tensor

from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf.pool import CRFPool, Refined


@dataclass(frozen=True)
class RefinedImage:
    """The CRF's prediction for one image, which a worker process may still be computing.

    Args:
        future: The future of the prediction.
        pool: The worker processes; None if the prediction is computed already.
    """

    future: Future[Refined]
    pool: CRFPool | None = None

    @property
    def is_done(self) -> bool:
        """Whether `result` returns without waiting."""
        return self.future.done()

    def result(self) -> Refined:
        """Wait for the prediction (H, W), uint8, and return it with its computing time in seconds.

        Raises:
            RuntimeError: A worker process died; the message names the images that were being processed.
        """
        return self.future.result() if self.pool is None else self.pool.result(self.future)


class Refiner:
    """Refines one batch after another until it is closed.

    Args:
        crf: The CRF.
        num_workers: Number of worker processes of pydensecrf; the torch engine needs none.
    """

    def __init__(self, crf: DenseCRF, num_workers: int = 1) -> None:
        self.crf = crf
        self._pool = None if crf.uses_torch else CRFPool(crf, num_workers)

    def __call__(self, images: Sequence[Tensor], logits: Tensor, image_ids: Sequence[str]) -> list[RefinedImage]:
        """Refine a batch, or submit it to the worker processes, waiting while their queue is full.

        Args:
            images: Images (H, W, 3), uint8, on the CPU.
            logits: Logits (B, K, H, W).
            image_ids: Names of the images, for errors.
        """
        with torch.autocast(logits.device.type, enabled=False):
            probabilities = logits.float().softmax(1)
            if self._pool is None:
                return _refine_by_torch(self.crf, torch.stack(list(images)), probabilities)
        triples = zip(images, probabilities.cpu().numpy(), image_ids, strict=True)
        return [RefinedImage(self._pool.submit(image.numpy(), *rest), self._pool) for image, *rest in triples]

    def close(self) -> None:
        """Stop the worker processes; images whose computation has not begun are dropped."""
        if self._pool is not None:
            self._pool.close()


def _refine_by_torch(crf: DenseCRF, images: Tensor, probabilities: Tensor) -> list[RefinedImage]:
    start = time.perf_counter()
    predictions = crf(images, probabilities).argmax(1).byte().cpu().numpy()
    seconds = (time.perf_counter() - start) / len(images)
    refined = []
    for prediction in predictions:
        future: Future[Refined] = Future()
        future.set_result((prediction, seconds))
        refined.append(RefinedImage(future))
    return refined


class RefinementQueue:
    """A queue of refined images and their targets, in the order of the data.

    A slow image holds up the images behind it, so that the order of counting does not depend on which is done first.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[RefinedImage, Tensor]] = deque()

    def add(self, refinement: Sequence[RefinedImage], targets: Tensor) -> None:
        """Append the images of a batch and their targets (B, H, W)."""
        self._waiting.extend(zip(refinement, targets, strict=True))

    def take(self, wait: bool = False) -> Iterator[tuple[Tensor, Tensor, float]]:
        """Take finished images from the front: prediction and target (1, H, W), and the computing time in seconds.

        Args:
            wait: All images are taken, waiting for each.
        """
        while self._waiting and (wait or self._waiting[0][0].is_done):
            image, target = self._waiting.popleft()
            prediction, seconds = image.result()
            yield torch.from_numpy(prediction).to(target.device)[None], target[None], seconds
