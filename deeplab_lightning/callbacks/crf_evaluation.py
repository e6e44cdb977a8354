"""Score the dense CRF's refinement of whatever logits the evaluation step returned."""

import os
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf.worker import Refined, refine, start_worker
from deeplab_lightning.metrics import SegmentationScores


class CRFEvaluation(Callback):
    """Refine every scored image in worker processes and log the scores again, as `val/miou_crf` beside `val/miou`.

    The CRF of one image runs while the network computes the next. The step's `outputs` get one more entry: "crf", a
    list of futures, one for each image of the batch, that give the refined prediction (H, W) and its seconds.

    Args:
        bilateral_weight: of the appearance kernel.
        bilateral_xy: its range in pixels.
        bilateral_rgb: its range in 8-bit colour values.
        gaussian_weight: of the smoothness kernel.
        gaussian_xy: its range in pixels.
        iterations: of mean field.
        num_workers: processes; when not given, the processors shared out among the ranks of this machine.
        during_fit: refine at every validation of a training run too, not only in `validate` and `test`.
    """

    def __init__(
        self,
        bilateral_weight: float = 4.0,
        bilateral_xy: float = 67.0,
        bilateral_rgb: float = 3.0,
        gaussian_weight: float = 3.0,
        gaussian_xy: float = 1.0,
        iterations: int = 10,
        num_workers: int | None = None,
        during_fit: bool = False,
    ) -> None:
        self.crf = DenseCRF(bilateral_weight, bilateral_xy, bilateral_rgb, gaussian_weight, gaussian_xy, iterations)
        self.num_workers = num_workers
        self.during_fit = during_fit
        self._pool: ProcessPoolExecutor | None = None

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the scores and the workers."""
        self._start(trainer, pl_module)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the scores and the workers."""
        self._start(trainer, pl_module)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Hand the batch to the workers."""
        self._submit(trainer, outputs, batch)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Hand the batch to the workers."""
        self._submit(trainer, outputs, batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for the workers and log."""
        self._finish(pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for the workers and log."""
        self._finish(pl_module, "test")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Let no worker outlive a run that fails."""
        self._stop_workers()

    def _start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or (trainer.state.fn == "fit" and not self.during_fit):
            return
        scores = pl_module.scores
        assert isinstance(scores, SegmentationScores)
        self._scores = SegmentationScores(scores.class_names, scores.trimap_width, "_crf").to(pl_module.device)
        self._seconds, self._own_images = 0.0, 0
        self._waiting: deque[tuple[Future[Refined], torch.Tensor, str]] = deque()
        num_workers = self.num_workers or max(1, (os.cpu_count() or 1) // trainer.num_devices)
        self._most_waiting = 2 * num_workers
        self._pool = ProcessPoolExecutor(num_workers, get_context("spawn"), start_worker)

    def _submit(self, trainer: Trainer, outputs: Any, batch: Any) -> None:
        if self._pool is None:
            return
        transform = trainer.datamodule.eval_transform  # type: ignore[attr-defined]
        probabilities = outputs["logits"].softmax(1).cpu().numpy()
        outputs["crf"] = []
        for image, target, image_id, own in zip(
            batch["image"], batch["mask"], batch["image_id"], probabilities, strict=True
        ):
            while len(self._waiting) >= self._most_waiting:
                self._collect()
            try:
                future = self._pool.submit(refine, self.crf, transform.denormalize(image).numpy(), own)
            except BrokenProcessPool as error:
                raise _worker_death(self._waiting[0][2] if self._waiting else image_id) from error
            self._waiting.append((future, target, image_id))
            outputs["crf"].append(future)

    def _collect(self) -> None:
        future, target, image_id = self._waiting[0]
        try:
            prediction, seconds = future.result()
        except BrokenProcessPool as error:
            raise _worker_death(image_id) from error
        self._waiting.popleft()
        self._seconds += seconds
        self._own_images += 1
        self._scores.update(torch.from_numpy(prediction).to(target.device)[None], target[None])

    def _finish(self, pl_module: LightningModule, split: str) -> None:
        if self._pool is None:
            return
        while self._waiting:
            self._collect()
        self._stop_workers()
        for name, value in self._scores.compute().items():
            pl_module.log(f"{split}/{name}", value, sync_dist=True)
        pl_module.log(f"{split}/seconds_per_image_crf", self._seconds / max(1, self._own_images), sync_dist=True)

    def _stop_workers(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None


def _worker_death(image_id: str) -> RuntimeError:
    return RuntimeError(f"a CRF worker process died at image {image_id} or just after it; was the memory enough?")
