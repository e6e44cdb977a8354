"""COCO 2017."""

from typing import Any, Literal

import numpy as np

from deeplab_lightning.datamodules.base import SegmentationDataModule
from deeplab_lightning.datamodules.folder import find_root
from deeplab_lightning.datasets.class_counts import class_counts
from deeplab_lightning.datasets.coco import NUM_IMAGES, Classes, COCODataset, Overlap, class_names
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.transforms import Transform
from deeplab_lightning.palette import Palette

MIN_PIXELS = 1000
"""Number of pixels of the chosen classes that a training image must exceed (v3, section 4.3; torchvision)."""


class COCODataModule(SegmentationDataModule):
    """COCO 2017 instances as semantic classes; crowd regions are void. The validation split is never filtered.

    Args:
        root: Folder with train2017/, val2017/ and annotations/; a relative path is looked up in the working directory,
            then in the folder that DEEPLAB_DATA names (default: data).
        classes: Set of classes. "voc21" is VOC's 20 classes and background, to which all other categories belong;
            "coco81" is COCO's 80 categories and background; "coco91" takes the category id as class index, like the
            heads of v2's pretraining.
        overlap: Class of a pixel in several instances: "void", like in torchvision, or that of the "first" instance.
        train_filter: Rule for the training images to keep. "annotation_area" keeps images whose annotations of the
            chosen classes have a total area of more than 1000 pixels, like torchvision; "labelled_pixels" keeps images
            with more than 1000 pixels of the chosen classes in the mask; "none" keeps all.
        train_split: Folder and annotations to train on.
        val_split: Folder and annotations that `validate` scores.
        test_split: Folder and annotations that `test` scores.
        kwargs: Settings of `SegmentationDataModule`.
    """

    published_images = NUM_IMAGES

    def __init__(
        self,
        root: str = "coco",
        classes: Classes = "voc21",
        overlap: Overlap = "void",
        train_filter: Literal["annotation_area", "labelled_pixels", "none"] = "annotation_area",
        train_split: str = "train2017",
        val_split: str = "val2017",
        test_split: str = "val2017",
        **kwargs: Any,
    ) -> None:
        self.root = find_root(root)
        self.classes, self.overlap, self.train_filter = classes, overlap, train_filter
        super().__init__(
            class_names(classes),
            f"COCO 2017 as {classes}",
            train_split=train_split,
            val_split=val_split,
            test_split=test_split,
            **kwargs,
        )

    @property
    def palette(self) -> Palette:
        """The names and colours of the classes, which are VOC's for VOC's classes."""
        return Palette.voc(self.class_names) if self.classes == "voc21" else super().palette

    @property
    def labels(self) -> str:
        """The source of the ground truth, as worded in the evaluation identity."""
        rule = "void" if self.overlap == "void" else "of the first instance"
        return f"COCO's instances, overlaps {rule}, crowds void, void 255 left out"

    def dataset(self, split: str, transform: Transform) -> COCODataset:
        """The data set of a split, unfiltered."""
        return COCODataset(self.root, split, transform, classes=self.classes, overlap=self.overlap, seed=self.seed)

    def train_set(self) -> COCODataset:
        """The training images that `train_filter` keeps.

        Raises:
            DataError: The filter keeps no image.
        """
        dataset = self.dataset(self.splits["train"], self.train_transform)
        if self.train_filter == "none":
            return dataset
        if self.train_filter == "annotation_area":
            pixels = np.array([dataset.annotated_area(index) for index in range(len(dataset))])
        else:
            pixels = class_counts(dataset, self.num_workers)[:, 1 : self.num_classes].sum(1)
        kept = np.flatnonzero(pixels > MIN_PIXELS).tolist()
        if not kept:
            fault = f"no image of split {self.splits['train']!r} has more than {MIN_PIXELS} pixels of the classes"
            raise DataError(f"{fault}; set data.train_filter to none", self.root)
        return dataset.subset(kept)
