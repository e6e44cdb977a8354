"""The base class of the datamodules: augmentation, loaders, and the data's part of the evaluation identity."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from deeplab_lightning.datamodules.sampler import EpochSampler, length_of, rank_and_world_size
from deeplab_lightning.datamodules.workers import collate, fork_server, new_notes, start_worker
from deeplab_lightning.datasets.augmentation import Augmentation
from deeplab_lightning.datasets.class_counts import class_counts
from deeplab_lightning.datasets.doctor import frequencies
from deeplab_lightning.datasets.evaluation_sizes import EvaluationSizeName, size_named
from deeplab_lightning.datasets.folder import ImageFiles
from deeplab_lightning.datasets.images import DataError, Sample
from deeplab_lightning.datasets.pixels import RGB, PixelFormat
from deeplab_lightning.datasets.segmentation import SegmentationDataset
from deeplab_lightning.datasets.submission import Competition, Server, voc_server
from deeplab_lightning.datasets.transforms import (
    EvaluationTransform,
    NormalizationName,
    TrainTransform,
    Transform,
    normalization_of,
)
from deeplab_lightning.palette import Color, Palette


class SegmentationDataModule(LightningDataModule):
    """Base of the datamodules: crops for training, whole images at their original size for evaluation.

    A subclass calls `__init__` with its class names and implements `dataset`. The ground truth of an evaluation always
    keeps its original size. A callback may set `wrap_train_set`: a function that gets the training set before the
    loader is made, and returns the data set to load.

    Args:
        class_names: Names of the classes.
        dataset_name: Name of the data in the evaluation identity.
        batch_size: Number of images of a training step, which all processes share equally.
        crop_size: Size (H, W) of the training crops.
        scale_range: Smallest and largest random scale of the training images; v3 draws uniformly from 0.5 to 2, v2 has
            0.5 to 1.5 with a step of 0.25, the TensorFlow release 0.5 to 2 with a step of 0.25, v1 1 to 1.
        scale_step: Step between the scales in scale_range; when not given, scales are drawn uniformly from the whole
            range.
        align_corners: Grid of the scaling (see `TrainTransform`): true for v3 and v3+, false for v2.
        flip: Whether training images are mirrored with probability one half.
        color_jitter: Strength of the random changes of brightness, contrast and saturation in training; 0 for none.
        transforms: Transforms of torchvision (v2) and albumentations for whole training images and masks, before they
            are scaled, cropped, mirrored and normalised: [{torchvision.transforms.v2.RandomRotation: {degrees: 10}}].
        normalization: Pixel values that the network's weights were trained with: "imagenet" is RGB with torchvision's
            mean and standard deviation, "caffe" is BGR in 0..255 with the mean subtracted, "inception" is RGB in -1..1.
        mean: Mean of each channel in 0..1, which replaces that of the normalization; crops are padded with it.
        std: Standard deviation of each channel in 0..1, which replaces that of the normalization.
        evaluation_size: Size of the images at evaluation: "whole_image", or "pad_to_513" (VOC) and "pad_to_1025x2049"
            (Cityscapes), which pad with the mean at the right and the bottom. The labels are resized
            too by "short_side_520" (torchvision) and "centre_crop_513" (VainF, jfzhang95).
        void_as: Class that void pixels count as at evaluation, as in code that pads or fills with 0; void is left out
            when not given.
        train_split: Id list to train on.
        val_split: Id list that `validate` scores.
        test_split: Id list that `test` scores.
        predict_images: Folder of images for `predict`; the images of the test split when not given.
        eval_batch_size: Number of whole images per evaluation batch and process; above 1 they must be equal in size.
        num_workers: Number of loader processes.
        seed: Seed of the order and the augmentation of the training samples.

    Raises:
        ValueError: A setting is invalid.
    """

    pixel_format: PixelFormat = RGB
    """The channels of the images; a subclass may set another one before it calls `__init__`."""
    published_images: Mapping[str, int] = {}
    """Published number of images of each split."""
    without_masks: str | None = None
    """Split whose masks are not public, because a server scores it."""
    colors: tuple[Color, ...] = ()
    """Official colours of the classes, if there are any."""

    def __init__(
        self,
        class_names: Sequence[str],
        dataset_name: str,
        batch_size: int = 16,
        crop_size: tuple[int, int] = (513, 513),
        scale_range: tuple[float, float] = (0.5, 2.0),
        scale_step: float | None = None,
        align_corners: bool = True,
        flip: bool = True,
        color_jitter: float = 0.0,
        transforms: list[dict[str, dict[str, Any] | None]] | None = None,
        normalization: NormalizationName = "imagenet",
        mean: list[float] | None = None,
        std: list[float] | None = None,
        evaluation_size: EvaluationSizeName = "whole_image",
        void_as: int | None = None,
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
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.num_workers, self.seed = num_workers, seed
        if self.without_masks in (train_split, val_split):
            raise ValueError(f"split {self.without_masks!r} has no public masks; it is for data.test_split alone")
        self.splits = {"train": train_split, "val": val_split, "test": test_split}
        self.predict_images = predict_images
        self.evaluation_size = size = size_named(evaluation_size, void_as, self.num_classes)
        self.is_normalized = self.in_channels == 3 or (mean is not None and std is not None)
        own_mean, own_std, bgr = normalization_of(normalization, self.in_channels, mean, std)
        limits, self.void_as = self.pixel_format.limits, void_as
        resizing: dict[str, Any] = {"scale_step": scale_step, "align_corners": align_corners, "flip": flip}
        resizing["augmentation"] = Augmentation(transforms, limits) if transforms else None
        colours: dict[str, Any] = {"mean": own_mean, "std": own_std, "bgr": bgr, "value_range": limits}
        self.train_transform = TrainTransform(crop_size, scale_range, color_jitter=color_jitter, **resizing, **colours)
        self.eval_transform = EvaluationTransform(
            pad_to=size.pad_to, resizing=size.resizing, void_as=void_as, **colours
        )
        self.wrap_train_set: Callable[[SegmentationDataset], Dataset[Sample]] | None = None

    @property
    def num_classes(self) -> int:
        """The number of classes K."""
        return len(self.class_names)

    @property
    def in_channels(self) -> int:
        """The number of channels of the images."""
        return self.pixel_format.num_channels

    @property
    def labels(self) -> str:
        """The source of the ground truth, as worded in the evaluation identity."""
        return "masks of SegmentationClass, void 255 left out"

    @property
    def palette(self) -> Palette:
        """The names and colours of the classes: the official colours, or else generated ones."""
        return Palette(tuple(self.class_names), self.colors) if self.colors else Palette.generated(self.class_names)

    def server(self, competition: Competition) -> Server:
        """The form of the label maps for the evaluation server; other data than a benchmark's take VOC's.

        Args:
            competition: Competition of VOC, which other servers do not have.
        """
        return voc_server(competition)

    def dataset(self, split: str, transform: Transform) -> SegmentationDataset:
        """The data set of an id list."""
        raise NotImplementedError

    def train_set(self) -> SegmentationDataset:
        """The data set to train on, before any image is repeated."""
        return self.dataset(self.splits["train"], self.train_transform)

    def class_weights(self, num_workers: int) -> list[float]:
        """The weight of each class by median frequency over the training split, whose counts are cached.

        Args:
            num_workers: Number of processes that count.
        """
        counts = class_counts(self.train_set(), num_workers)
        return [row["weight"] for row in frequencies(counts, self.class_names).values()]

    def identity(self, stage: str) -> dict[str, str]:
        """The data's part of the evaluation identity for stage "val" or "test"."""
        void = "left out" if self.void_as is None else f"counted as {self.class_names[self.void_as]}"
        return {
            "dataset": self.dataset_name,
            "split": self.splits[stage],
            "labels": self.labels.replace("left out", void),
            "size_policy": self.evaluation_size.words,
        }

    def train_dataloader(self) -> DataLoader[Sample]:
        """The loader of training crops in the order of `EpochSampler`; an incomplete last batch is left out.

        Raises:
            DataError: The split has fewer images than one batch.
        """
        train_set = self.train_set()
        dataset = train_set if self.wrap_train_set is None else self.wrap_train_set(train_set)
        rank, world_size = rank_and_world_size()
        sampler = EpochSampler(length_of(dataset), self.seed, rank, world_size)
        batch_size = self.batch_per_process(world_size)
        # In a resumed run the workers take their first indices before Lightning sets the sampler's epoch.
        if self.trainer is not None:
            loop = self.trainer.fit_loop.epoch_loop
            batches = loop.batch_progress.current.completed if loop.restarting else 0
            sampler.resume(self.trainer.current_epoch, batches * batch_size)
        if len(sampler) < batch_size:
            raise DataError(
                f"{self.dataset_name}: split {self.splits['train']!r} has {length_of(dataset)} images, "
                f"fewer than one batch of {self.batch_size}; choose a smaller data.batch_size"
            )
        return self._loader(dataset, batch_size, sampler, drop_last=True)

    def batch_per_process(self, world_size: int) -> int:
        """The number of images that each process gets in a training step.

        Args:
            world_size: Number of processes.

        Raises:
            DataError: The batch cannot be divided equally.
        """
        if self.batch_size % world_size:
            raise DataError(
                f"data.batch_size {self.batch_size} is for all processes together, and {world_size} processes cannot "
                "share it equally; choose a number of devices that divides it, or another batch size"
            )
        return self.batch_size // world_size

    def val_dataloader(self) -> DataLoader[Sample]:
        """The loader of whole validation images, each on exactly one rank."""
        return self.evaluation_loader(self.dataset(self.splits["val"], self.eval_transform))

    def test_dataloader(self) -> DataLoader[Sample]:
        """The loader of whole test images, each on exactly one rank.

        Raises:
            DataError: The masks of the test split are not public.
        """
        if self.splits["test"] == self.without_masks:
            raise DataError(
                f"the masks of {self.dataset_name}'s split {self.without_masks!r} are not public; use "
                f"`deeplab predict` to write its label maps, or set data.test_split to {self.splits['val']}"
            )
        return self.evaluation_loader(self.dataset(self.splits["test"], self.eval_transform))

    def predict_dataloader(self) -> DataLoader[Sample]:
        """The loader of the whole images of `predict_images`, or of the test split.

        Raises:
            DataError: Images would be resized, and so would be their label maps.
        """
        if self.evaluation_size.resizing is not None:
            raise DataError("label maps must have the images' size; predict with data.evaluation_size whole_image")
        if self.predict_images is None:
            return self.evaluation_loader(self.dataset(self.splits["test"], self.eval_transform))
        return self.evaluation_loader(ImageFiles(Path(self.predict_images), self.eval_transform, self.pixel_format))

    def evaluation_loader(self, dataset: Dataset[Sample]) -> DataLoader[Sample]:
        """The loader of all images of a data set, each on exactly one rank: rank r has r, r + world size, and so on.

        Raises:
            DataError: There are fewer images than processes.
        """
        rank, world_size = rank_and_world_size()
        if length_of(dataset) < world_size:
            raise DataError(
                f"{self.dataset_name}: {length_of(dataset)} images cannot be scored by {world_size} processes"
            )
        return self._loader(dataset, self.eval_batch_size, range(rank, length_of(dataset), world_size), drop_last=False)

    def _loader(
        self, dataset: Dataset[Sample], batch_size: int, sampler: Iterable[int | tuple[int, int]], drop_last: bool
    ) -> DataLoader[Sample]:
        if not self.is_normalized:
            raise ValueError(
                f"images of {self.in_channels} channels need data.mean and data.std, one number for each channel; "
                "`deeplab data check` prints those of the training split"
            )
        _, world_size = rank_and_world_size()
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            multiprocessing_context=fork_server() if world_size > 1 and self.num_workers else None,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            drop_last=drop_last,
            persistent_workers=self.num_workers > 0,
            worker_init_fn=partial(start_worker, new_notes(self.num_workers)),
        )
