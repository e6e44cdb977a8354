"""The dense CRF's refinement of whatever logits the evaluation step returned: scored, or in place of a prediction."""

import os
import time
from collections import deque
from concurrent.futures import Future
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from deeplab_lightning.crf.dense_crf import DenseCRF, Engine, Normalization
from deeplab_lightning.crf.pool import CRFPool, Refined
from deeplab_lightning.metrics import ImageMean, SegmentationScores


class CRFEvaluation(Callback):
    """Refine every scored image and log the scores again, as `val/miou_crf` beside `val/miou`, and the gain.

    `predict` writes what the CRF made of its images. The torch engine refines a batch on the device of its logits, at
    once. With pydensecrf worker processes do it: the CRF of one image runs while the network computes the next. The
    step's `outputs` get one more entry: "crf", a list of futures, one for each image of the batch, that give the
    refined prediction (H, W) and its seconds.

    Args:
        bilateral_weight: of the appearance kernel.
        bilateral_xy: its range in pixels.
        bilateral_rgb: its range in 8-bit colour values.
        gaussian_weight: of the smoothness kernel.
        gaussian_xy: its range in pixels.
        iterations: of mean field.
        normalization: "after" divides messages by K 1 once they are filtered, as the releases of v1 and v2 do;
            "symmetric" is pydensecrf's default.
        engine: "torch" or "pydensecrf"; "auto" is "torch".
        min_probability: labels that reach it nowhere in an image are left out; 0 leaves none out.
        num_workers: pydensecrf's processes; when not given, the processors shared out among the ranks of this machine.
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
        normalization: Normalization = "after",
        engine: Engine = "auto",
        min_probability: float = 0.0,
        num_workers: int | None = None,
        during_fit: bool = False,
    ) -> None:
        ranges = (bilateral_weight, bilateral_xy, bilateral_rgb, gaussian_weight, gaussian_xy)
        self.crf = DenseCRF(*ranges, iterations, normalization, engine, min_probability)
        if num_workers is not None and self.crf.uses_torch:
            raise ValueError(f"num_workers {num_workers} does nothing with engine {engine!r}, only with 'pydensecrf'")
        self.num_workers = num_workers
        self.during_fit = during_fit
        self._active = False
        self._pool: CRFPool | None = None

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the scores and the workers."""
        self._start(trainer, pl_module)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the scores and the workers."""
        self._start(trainer, pl_module)

    def on_predict_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the workers."""
        self._start_workers(trainer)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Refine the batch, or hand it to the workers."""
        self._score(trainer, outputs, batch)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Refine the batch, or hand it to the workers."""
        self._score(trainer, outputs, batch)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Refine the batch, or hand it to the workers."""
        self._refine(trainer, outputs, batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for the workers and log."""
        self._finish(pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for the workers and log."""
        self._finish(pl_module, "test")

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the workers go."""
        self._stop_workers()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Let no worker outlive a run that fails."""
        self._stop_workers()

    def _start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._active = not trainer.sanity_checking and (self.during_fit or trainer.state.fn != "fit")
        if not self._active:
            return
        scores = pl_module.scores
        assert isinstance(scores, SegmentationScores)
        self._plain = scores
        self._scores = SegmentationScores(scores.class_names, scores.trimap_width, "_crf").to(pl_module.device)
        self._seconds = ImageMean().to(pl_module.device)
        self._waiting: deque[tuple[Future[Refined], Tensor]] = deque()
        self._start_workers(trainer)

    def _start_workers(self, trainer: Trainer) -> None:
        if not self.crf.uses_torch:
            self._pool = CRFPool(self.crf, self.num_workers or max(1, (os.cpu_count() or 1) // trainer.num_devices))

    def _score(self, trainer: Trainer, outputs: Any, batch: Any) -> None:
        if not self._active:
            return
        self._refine(trainer, outputs, batch)
        self._waiting += zip(outputs["crf"], batch["mask"], strict=True)
        while self._waiting and self._waiting[0][0].done():
            self._collect()

    def _refine(self, trainer: Trainer, outputs: Any, batch: Any) -> None:
        transform = trainer.datamodule.eval_transform  # type: ignore[attr-defined]
        probabilities = outputs["logits"].float().softmax(1)
        images = [transform.denormalize(image, probabilities.shape[-2:]) for image in batch["image"]]
        if self._pool is None:
            outputs["crf"] = _refine_by_torch(self.crf, images, probabilities)
        else:
            outputs["crf"] = [
                self._pool.submit(image.numpy(), own, image_id)
                for image, own, image_id in zip(images, probabilities.cpu().numpy(), batch["image_id"], strict=True)
            ]

    def _collect(self) -> None:
        future, target = self._waiting.popleft()
        prediction, seconds = future.result() if self._pool is None else self._pool.result(future)
        self._seconds.update(seconds)
        self._scores.update(torch.from_numpy(prediction).to(target.device)[None], target[None])

    def _finish(self, pl_module: LightningModule, split: str) -> None:
        if not self._active:
            return
        while self._waiting:
            self._collect()
        self._stop_workers()
        refined, plain = self._scores.compute(), self._plain.compute()
        refined["miou_gain_crf"] = refined["miou_crf"] - plain["miou"]
        refined["seconds_per_image_crf"] = float(self._seconds.compute())
        for name, value in refined.items():
            pl_module.log(f"{split}/{name}", value, sync_dist=True)

    def _stop_workers(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None


def _refine_by_torch(crf: DenseCRF, images: list[Tensor], probabilities: Tensor) -> list[Future[Refined]]:
    start = time.perf_counter()
    predictions = crf(torch.stack(images), probabilities).argmax(1).byte().cpu().numpy()
    seconds = (time.perf_counter() - start) / len(images)
    futures: list[Future[Refined]] = []
    for prediction in predictions:
        futures.append(Future())
        futures[-1].set_result((prediction, seconds))
    return futures
