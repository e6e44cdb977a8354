"""PASCAL-Context."""

from typing import Any, Literal

from deeplab_lightning.datamodules.base import SegmentationDataModule
from deeplab_lightning.datamodules.folder import find_root
from deeplab_lightning.datasets.pascal_context import CLASS_NAMES, NUM_IMAGES, PascalContextDataset
from deeplab_lightning.datasets.transforms import Transform

Split = Literal["train", "val", "trainval"]


class PascalContextDataModule(SegmentationDataModule):
    """PASCAL-Context: the 59 most frequent of 459 labels on every pixel of VOC 2010's images, and background.

    Args:
        root: Folder VOC2010, with JPEGImages and ImageSets; a relative path is looked up in the working directory, then
            in the folder that DEEPLAB_DATA names (default: data).
        label_root: Folder of the labels <id>.mat, looked up in the same way.
        background: Whether background is a class, the first of 60; if not, it is void. Scores of the two differ.
        train_split: Split to train on: train (4998 images) or trainval (10103).
        val_split: Split that `validate` scores: val (5105).
        test_split: Split that `test` scores: val, because the labels of the test images do not exist.
        kwargs: Settings of `SegmentationDataModule`.
    """

    published_images = NUM_IMAGES

    def __init__(
        self,
        root: str = "VOCdevkit/VOC2010",
        label_root: str = "pascal-context/trainval",
        background: bool = True,
        train_split: Split = "train",
        val_split: Split = "val",
        test_split: Split = "val",
        **kwargs: Any,
    ) -> None:
        self.root, self.label_root, self.background = find_root(root), find_root(label_root), background
        super().__init__(
            CLASS_NAMES if background else CLASS_NAMES[1:],
            f"PASCAL-Context {60 if background else 59}",
            train_split=train_split,
            val_split=val_split,
            test_split=test_split,
            **kwargs,
        )

    @property
    def labels(self) -> str:
        """The source of the ground truth, as worded in the evaluation identity."""
        return f"59 of 459 labels, the others {'background' if self.background else '255 left out'}"

    def dataset(self, split: str, transform: Transform) -> PascalContextDataset:
        """The data set of a split."""
        return PascalContextDataset(
            self.root, self.label_root, split, transform, background=self.background, seed=self.seed
        )
