"""The CRF's refinement of the predictions of a batch: by torch at once, by pydensecrf while the network goes on."""

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
    """The CRF's prediction of one image, which a worker process may still be at.

    Args:
        future: The prediction to come.
        pool: The worker processes; None where the prediction is there.
    """

    future: Future[Refined]
    pool: CRFPool | None = None

    @property
    def is_done(self) -> bool:
        """Whether `result` gives it without waiting."""
        return self.future.done()

    def result(self) -> Refined:
        """The prediction (H, W), uint8, and the seconds that it took; waits for it.

        Raises:
            RuntimeError: A worker process died; the message names the images in work.
        """
        return self.future.result() if self.pool is None else self.pool.result(self.future)


class Refiner:
    """Refines one batch after another, from its construction until it is closed.

    Args:
        crf: The CRF.
        num_workers: Number of worker processes of pydensecrf; the torch engine needs none.
    """

    def __init__(self, crf: DenseCRF, num_workers: int = 1) -> None:
        self.crf = crf
        self._pool = None if crf.uses_torch else CRFPool(crf, num_workers)

    def __call__(self, images: Sequence[Tensor], logits: Tensor, image_ids: Sequence[str]) -> list[RefinedImage]:
        """Refine a batch, or hand it to the worker processes; waits while their queue is full.

        Args:
            images: (H, W, 3) each, uint8, on the CPU.
            logits: (B, K, H, W).
            image_ids: The names of the images, for errors.
        """
        with torch.autocast(logits.device.type, enabled=False):
            probabilities = logits.float().softmax(1)
            if self._pool is None:
                return _refine_by_torch(self.crf, torch.stack(list(images)), probabilities)
        triples = zip(images, probabilities.cpu().numpy(), image_ids, strict=True)
        return [RefinedImage(self._pool.submit(image.numpy(), *rest), self._pool) for image, *rest in triples]

    def close(self) -> None:
        """Let the worker processes end; images not yet begun are dropped."""
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
    """Refined images in the order of the data, each with its target, until they are counted.

    An image that takes long holds up those behind it, so that all are counted in one order, whichever is done first.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[RefinedImage, Tensor]] = deque()

    def add(self, refinement: Sequence[RefinedImage], targets: Tensor) -> None:
        """Append the images of a batch and their targets (B, H, W)."""
        self._waiting.extend(zip(refinement, targets, strict=True))

    def take(self, wait: bool = False) -> Iterator[tuple[Tensor, Tensor, float]]:
        """Take the images that are done from the front: prediction and target (1, H, W), and the seconds it took.

        Args:
            wait: Take all, waiting for each.
        """
        while self._waiting and (wait or self._waiting[0][0].is_done):
            image, target = self._waiting.popleft()
            prediction, seconds = image.result()
            yield torch.from_numpy(prediction).to(target.device)[None], target[None], seconds
