"""PASCAL-Person-Part."""

from typing import Any, Literal

from deeplab_lightning.datamodules.base import SegmentationDataModule
from deeplab_lightning.datamodules.folder import find_root
from deeplab_lightning.datasets.person_part import CLASS_NAMES, NUM_IMAGES, PersonPartDataset
from deeplab_lightning.datasets.transforms import Transform

Split = Literal["train", "val"]


class PersonPartDataModule(SegmentationDataModule):
    """PASCAL-Person-Part: head, torso, upper and lower arms and legs on images that hold people, and background.

    Args:
        root: Folder VOC2010 or VOC2012, with JPEGImages; a relative path is looked up in the working directory, then in
            the folder that DEEPLAB_DATA names (default: data).
        label_root: Folder pascal_person_part of the authors' archive, looked up in the same way.
        train_split: Split to train on: train (1716 images).
        val_split: Split that `validate` scores: val (1817).
        test_split: Split that `test` scores: val, because there is no other one.
        kwargs: Settings of `SegmentationDataModule`.
    """

    published_images = NUM_IMAGES

    def __init__(
        self,
        root: str = "VOCdevkit/VOC2012",
        label_root: str = "pascal_person_part",
        train_split: Split = "train",
        val_split: Split = "val",
        test_split: Split = "val",
        **kwargs: Any,
    ) -> None:
        self.root, self.label_root = find_root(root), find_root(label_root)
        super().__init__(
            CLASS_NAMES,
            "PASCAL-Person-Part",
            train_split=train_split,
            val_split=val_split,
            test_split=test_split,
            **kwargs,
        )

    @property
    def labels(self) -> str:
        """The source of the ground truth, as worded in the evaluation identity."""
        return "the authors' masks of six parts, void 255 left out"

    def dataset(self, split: str, transform: Transform) -> PersonPartDataset:
        """The data set of a split."""
        return PersonPartDataset(self.root, self.label_root, split, transform, seed=self.seed)
