"""PASCAL VOC 2012, alone or with SBD."""

from pathlib import Path
from typing import Any, Literal

from deeplab_lightning.datamodules.base import SegmentationDataModule
from deeplab_lightning.datamodules.folder import find_root
from deeplab_lightning.datasets.transforms import Transform
from deeplab_lightning.datasets.voc import AUGMENTED, CLASS_NAMES, NUM_IMAGES, WITHOUT_MASKS, VOCDataset
from deeplab_lightning.palette import Palette

Split = Literal["train", "val", "trainval", "test", "train_aug", "trainval_aug"]


class VOCDataModule(SegmentationDataModule):
    """PASCAL VOC 2012: 21 classes, void borders; train_aug and trainval_aug are computed from VOC's and SBD's lists.

    The validation is scored against VOC's own masks. VOC's split "test" has no public masks; `deeplab predict` writes
    label maps for it.

    Args:
        root: Folder VOC2012, with JPEGImages, SegmentationClass and ImageSets; a relative path is looked up in the
            working directory, then in the folder that DEEPLAB_DATA names (default: data).
        sbd_root: SBD's folder benchmark_RELEASE/dataset, looked up in the same way; needed for the augmented splits,
            and refused for the others.
        train_split: Split to train on: train (1464 images), trainval (2913), train_aug (10582) or trainval_aug (12031).
        val_split: Split that `validate` scores: val (1449).
        test_split: Split that `test` scores and whose images `predict` labels: val, or test (1456) for `predict`.
        kwargs: Settings of `SegmentationDataModule`.
    """

    published_images = NUM_IMAGES
    colors = Palette.voc(CLASS_NAMES).colors
    without_masks = WITHOUT_MASKS

    def __init__(
        self,
        root: str = "VOCdevkit/VOC2012",
        sbd_root: str | None = None,
        train_split: Split = "train",
        val_split: Split = "val",
        test_split: Split = "val",
        **kwargs: Any,
    ) -> None:
        splits = (train_split, val_split, test_split)
        if any(split in AUGMENTED for split in splits) != (sbd_root is not None):
            raise ValueError(
                f"the splits {' and '.join(AUGMENTED)} need sbd_root, and no other split uses it; got sbd_root "
                f"{sbd_root} with train_split {train_split}, val_split {val_split} and test_split {test_split}"
            )
        if any(split in AUGMENTED for split in splits[1:]):
            raise ValueError(
                f"{' and '.join(AUGMENTED)} hold SBD's masks and are not scored; got val_split {val_split!r} and "
                f"test_split {test_split!r}"
            )
        self.root = find_root(root)
        self.sbd_root: Path | None = None if sbd_root is None else find_root(sbd_root)
        super().__init__(
            CLASS_NAMES, "VOC 2012", train_split=train_split, val_split=val_split, test_split=test_split, **kwargs
        )

    @property
    def labels(self) -> str:
        """The source of the ground truth, as worded in the evaluation identity."""
        return "VOC's own masks (SegmentationClass), void 255 left out"

    def dataset(self, split: str, transform: Transform) -> VOCDataset:
        """The data set of a split."""
        sbd_root = self.sbd_root if split in AUGMENTED else None
        return VOCDataset(self.root, split, transform, sbd_root, seed=self.seed)
