"""Bootstrapping on hard images, which are trained on more often (v3, section 4.3)."""

import json
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from torch import Tensor

from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.callbacks.log_folder import log_folder
from deeplab_lightning.datasets.class_counts import class_counts
from deeplab_lightning.datasets.repeated import RepeatedDataset
from deeplab_lightning.datasets.segmentation import SegmentationDataset
from deeplab_lightning.metrics import ConfusionMatrix, mean_iou
from deeplab_lightning.modules.trainer_data import datamodule_of
from deeplab_lightning.processors import count_processors

HARD_CLASSES = ("bicycle", "chair", "diningtable", "pottedplant", "sofa")
"""The hard classes of v3, section 4.3."""


class BootstrapHardImages(Callback):
    """Repeats hard training images in every epoch, the same ones on all ranks.

    The hard images are printed, counted by class in the logs as bootstrap/<class>, written to the log folder as
    hard_images_epoch_<n>.json, and kept in the checkpoints.

    Args:
        mode: Choice of hard images. "classes" repeats the images that hold one of `classes`. "worst" repeats those with
            the lowest mean IoU over the classes they hold, for the current weights and without augmentation.
        classes: Names of the hard classes, in mode "classes"; by default v3's.
        multiplicity: Number of times that a hard image occurs in an epoch; the paper says "duplicate", which is 2.
        share: Share of the training images that counts as worst, in mode "worst"; by default 0.1.
        every_n_epochs: Number of epochs between two scorings of the training images, in mode "worst"; by default 1.
            Before the first scoring, nothing is repeated.
    """

    def __init__(
        self,
        mode: Literal["classes", "worst"] = "classes",
        classes: Sequence[str] | None = None,
        multiplicity: int = 2,
        share: float | None = None,
        every_n_epochs: int | None = None,
    ) -> None:
        if mode not in ("classes", "worst"):
            raise ValueError(f"mode must be 'classes' or 'worst', got {mode!r}")
        if multiplicity < 2:
            raise ValueError(f"multiplicity must be at least 2, because 1 repeats nothing, got {multiplicity}")
        if mode == "classes" and (share is not None or every_n_epochs is not None):
            raise ValueError(f"share {share} and every_n_epochs {every_n_epochs} have no effect in mode 'classes'")
        if mode == "worst" and classes is not None:
            raise ValueError(f"classes {list(classes)} have no effect in mode 'worst'")
        self.mode, self.multiplicity = mode, multiplicity
        self.classes = HARD_CLASSES if classes is None else tuple(classes)
        self.share, self.every_n_epochs = share or 0.1, every_n_epochs or 1
        if not 0 < self.share < 1 or self.every_n_epochs < 1:
            raise ValueError(f"share must be in (0, 1) and every_n_epochs at least 1, got {share}, {every_n_epochs}")
        self._extra: Tensor | None = None  # indices of images, each as often as it is repeated
        self._counts: NDArray[np.int64] = np.zeros((0, 0), np.int64)
        self._image_ids: list[str] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the images that hold hard classes, and let the datamodule wrap its training set."""
        if stage != "fit":
            return
        datamodule = datamodule_of(trainer)
        self._folder = log_folder(trainer).path
        train_set = datamodule.train_set()
        self._image_ids = train_set.image_ids
        # Only rank zero decodes all masks, once per data set. The other ranks, and later trainings, read the counts
        # from the cache. Every rank needs them, so that all repeat the same images.
        if trainer.is_global_zero:
            class_counts(train_set, count_processors())
        trainer.strategy.barrier("class_counts")
        self._counts = class_counts(train_set, 0)
        datamodule.wrap_train_set = self._wrap  # loaders are built after `setup`, and call this
        if self.mode == "classes":
            self._repeat(self._with_hard_classes(datamodule.class_names))

    def _with_hard_classes(self, names: list[str]) -> NDArray[np.int64]:
        if unknown := [name for name in self.classes if name not in names]:
            raise ValueError(f"classes {unknown} are not among the data's: {', '.join(names)}")
        hard = np.flatnonzero(self._counts[:, [names.index(name) for name in self.classes]].sum(1))
        if not len(hard):
            raise ValueError(f"no training image holds any of the classes {', '.join(self.classes)}")
        return hard

    def _repeat(self, hard: NDArray[np.int64]) -> None:
        self._extra = torch.from_numpy(np.tile(hard, self.multiplicity - 1))

    def _wrap(self, dataset: SegmentationDataset) -> RepeatedDataset:
        return RepeatedDataset(dataset, [] if self._extra is None else self._extra.tolist())

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the images that are repeated from the first epoch on."""
        self._report(trainer, trainer.current_epoch)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the loader of this epoch until images are scored again."""
        if self.mode == "worst":
            trainer.reload_dataloaders_every_n_epochs = 0  # type: ignore[attr-defined]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Score the training images if they are due, and let Lightning build a new loader for the next epoch."""
        if self.mode != "worst" or (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        scores = self._score(trainer, pl_module)
        self._repeat(np.sort(np.argsort(scores, kind="stable")[: max(1, round(self.share * len(scores)))]))
        trainer.reload_dataloaders_every_n_epochs = 1  # type: ignore[attr-defined]
        self._report(trainer, trainer.current_epoch + 1)

    @torch.no_grad()
    def _score(self, trainer: Trainer, pl_module: Any) -> NDArray[np.float64]:
        """Return the mean IoU of each training image over the classes in it; every rank scores a part of the images."""
        datamodule = datamodule_of(trainer)
        # Frozen batch norms are in evaluation mode while the network trains, so each module gets back its own mode.
        training = {module: module.training for module in pl_module.modules()}
        dataset = datamodule.train_set().with_transform(datamodule.eval_transform)
        scores = torch.zeros(len(dataset), dtype=torch.float64)
        # The loader gives each rank every world_size-th image. The other scores stay 0, so that the sum over ranks
        # holds all of them.
        own = iter(range(trainer.global_rank, len(dataset), trainer.world_size))
        confusion = ConfusionMatrix(datamodule.num_classes).to(pl_module.device)
        pl_module.eval()
        for batch in datamodule.evaluation_loader(dataset):
            image, target = (batch[name].to(pl_module.device) for name in ("image", "mask"))
            with trainer.precision_plugin.forward_context():
                logits = pl_module.evaluation_logits(image)[..., : target.shape[-2], : target.shape[-1]]
            for prediction, mask in zip(logits.argmax(1), target, strict=True):
                confusion.reset()
                confusion.update(prediction, mask)
                scores[next(own)] = mean_iou(confusion.matrix)
        for module, mode in training.items():
            module.training = mode
        total = trainer.strategy.reduce(scores.to(pl_module.device), reduce_op="sum")
        return np.asarray(total.cpu())

    def _report(self, trainer: Trainer, epoch: int) -> None:
        """Print, log and write the images that are repeated from an epoch on."""
        if self._extra is None or not trainer.is_global_zero:
            return
        datamodule = datamodule_of(trainer)
        hard = torch.unique(self._extra).numpy()
        held = (self._counts[hard, : datamodule.num_classes] > 0).sum(0)
        by_class = {name: int(count) for name, count in zip(datamodule.class_names, held, strict=True)}
        record = {
            "epoch": epoch,
            "mode": self.mode,
            "multiplicity": self.multiplicity,
            "images_by_class": by_class,
            "image_ids": [self._image_ids[index] for index in hard],
        }
        path = self._folder / f"hard_images_epoch_{epoch}.json"
        write_atomically(path, json.dumps(record, indent=1))
        for logger in trainer.loggers:
            logger.log_metrics({f"bootstrap/{name}": count for name, count in by_class.items()}, trainer.global_step)
        rank_zero_info(
            f"{len(hard)} of {len(self._image_ids)} training images occur {self.multiplicity} times per epoch: {path}"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the images that are repeated, and the number of all images."""
        return {"extra": self._extra, "num_images": len(self._image_ids)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue to repeat the images of a checkpoint; an evaluation ignores them.

        Raises:
            ValueError: The checkpoint belongs to other data, or mode "classes" now repeats other images.
        """
        if not self._image_ids:
            return
        # Mode "classes" has found its images again, and they must be the same. Mode "worst" keeps the scored ones.
        extra, own = state_dict["extra"], self._extra
        same = extra is None or self.mode == "worst" or (own is not None and torch.equal(extra, own))
        if state_dict["num_images"] != len(self._image_ids) or not same:
            raise ValueError(
                "BootstrapHardImages repeats other images than in the checkpoint, which has "
                f"{0 if extra is None else len(extra)} repetitions of {state_dict['num_images']} images, against "
                f"{0 if own is None else len(own)} of {len(self._image_ids)} now; resume with its data and settings"
            )
        self._extra = extra
