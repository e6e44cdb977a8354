"""What every datamodule shares: augmentation, loaders, and the data's part of the evaluation identity."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
import torch.distributed
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset, default_collate

from deeplab_lightning.datamodules.sampler import EpochSampler
from deeplab_lightning.datasets.folder import ImageFiles
from deeplab_lightning.datasets.images import DataError, Sample
from deeplab_lightning.datasets.transforms import EvaluationTransform, TrainTransform, Transform

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class SegmentationDataModule(LightningDataModule):
    """Base of the datamodules: crops for training, whole images at their original size for evaluation.

    A subclass calls `__init__` with its class names and implements `dataset`.

    Args:
        class_names: one name per class.
        dataset_name: the data's name in the evaluation identity.
        batch_size: of training, per process.
        crop_size: (H, W) of the training crops.
        scale_range: random scale of the training images.
        flip: mirror half of the training images.
        color_jitter: strength of random brightness, contrast and saturation in training, 0 for none.
        mean: RGB mean, in 0..1, subtracted from every image; crops are padded with it.
        std: RGB standard deviation, in 0..1.
        train_split: id list to train on.
        val_split: id list that `validate` scores.
        test_split: id list that `test` scores.
        predict_images: folder of images for `predict`; the test split's images when not given.
        eval_batch_size: whole images per evaluation batch, per process; above 1 they must be equal in size.
        num_workers: loader processes.
        seed: of the order and the augmentation of the training samples.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        dataset_name: str,
        batch_size: int = 16,
        crop_size: tuple[int, int] = (513, 513),
        scale_range: tuple[float, float] = (0.5, 2.0),
        flip: bool = True,
        color_jitter: float = 0.0,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
        train_split: str = "train",
        val_split: str = "val",
        test_split: str = "test",
        predict_images: str | None = None,
        eval_batch_size: int = 1,
        num_workers: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1 or eval_batch_size < 1:
            raise ValueError(f"batch sizes must be at least 1, got {batch_size} and {eval_batch_size}")
        self.class_names, self.dataset_name = list(class_names), dataset_name
        self.batch_size, self.eval_batch_size, self.num_workers, self.seed = (
            batch_size,
            eval_batch_size,
            num_workers,
            seed,
        )
        self.splits = {"train": train_split, "val": val_split, "test": test_split}
        self.predict_images = predict_images
        self.train_transform = TrainTransform(crop_size, scale_range, flip, color_jitter, mean, std)
        self.eval_transform = EvaluationTransform(mean, std)

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.class_names)

    def dataset(self, split: str, transform: Transform) -> Dataset[Sample]:
        """The data set of an id list."""
        raise NotImplementedError

    def identity(self, stage: str) -> dict[str, str]:
        """The data's part of the evaluation identity for stage "val" or "test"."""
        return {
            "dataset": self.dataset_name,
            "split": self.splits[stage],
            "labels": "masks of SegmentationClass, void 255 left out",
            "size_policy": "whole image, scored at its original size",
        }

    def train_dataloader(self) -> DataLoader[Sample]:
        """Crops in the order of `EpochSampler`; the last, smaller batch of an epoch is left out."""
        dataset = self.dataset(self.splits["train"], self.train_transform)
        rank, world_size = _rank_and_world_size()
        sampler = EpochSampler(_length(dataset), self.seed, rank, world_size)
        if self.trainer is not None:  # a resumed run's workers draw before Lightning tells the sampler the epoch
            sampler.set_epoch(self.trainer.current_epoch)
        if len(sampler) < self.batch_size:
            raise DataError(
                f"{self.dataset_name}: split {self.splits['train']!r} gives each process {len(sampler)} images, "
                f"fewer than one batch of {self.batch_size}; choose a smaller data.batch_size"
            )
        return self._loader(dataset, self.batch_size, sampler, drop_last=True)

    def val_dataloader(self) -> DataLoader[Sample]:
        """Whole images of the validation split, each on exactly one rank."""
        return self._eval_loader(self.dataset(self.splits["val"], self.eval_transform))

    def test_dataloader(self) -> DataLoader[Sample]:
        """Whole images of the test split, each on exactly one rank."""
        return self._eval_loader(self.dataset(self.splits["test"], self.eval_transform))

    def predict_dataloader(self) -> DataLoader[Sample]:
        """Whole images of `predict_images`, or of the test split."""
        if self.predict_images is None:
            return self.test_dataloader()
        return self._eval_loader(ImageFiles(Path(self.predict_images), self.eval_transform))

    def _eval_loader(self, dataset: Dataset[Sample]) -> DataLoader[Sample]:
        rank, world_size = _rank_and_world_size()
        if _length(dataset) < world_size:
            raise DataError(
                f"{self.dataset_name}: {_length(dataset)} images cannot be scored by {world_size} processes"
            )
        return self._loader(dataset, self.eval_batch_size, range(rank, _length(dataset), world_size), drop_last=False)

    def _loader(
        self, dataset: Dataset[Sample], batch_size: int, sampler: Iterable[int | tuple[int, int]], drop_last: bool
    ) -> DataLoader[Sample]:
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            drop_last=drop_last,
            persistent_workers=self.num_workers > 0,
        )


def collate(samples: list[Sample]) -> Sample:
    """Stack samples into a batch.

    Raises:
        DataError: their sizes differ.
    """
    sizes = {tuple(sample["mask"].shape) for sample in samples}
    if len(sizes) > 1:
        names = ", ".join(sample["image_id"] for sample in samples)
        raise DataError(f"images {names} differ in size and cannot share a batch; set data.eval_batch_size to 1")
    batch: Sample = default_collate(samples)
    return batch


def _length(dataset: Dataset[Sample]) -> int:
    return len(dataset)  # type: ignore[arg-type]  # every data set here is sized; torch's base class is not


def _rank_and_world_size() -> tuple[int, int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
