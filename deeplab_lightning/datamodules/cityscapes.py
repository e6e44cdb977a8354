"""Cityscapes."""

from typing import Any, Literal

from deeplab_lightning.datamodules.base import SegmentationDataModule
from deeplab_lightning.datamodules.folder import find_root
from deeplab_lightning.datasets.cityscapes import (
    CLASS_NAMES,
    LABEL_IDS,
    NUM_IMAGES,
    SIZE,
    WITHOUT_MASKS,
    CityscapesDataset,
)
from deeplab_lightning.datasets.submission import Competition, Server
from deeplab_lightning.datasets.transforms import Transform
from deeplab_lightning.palette import CITYSCAPES_COLORS

Split = Literal["train", "val", "trainval", "test", "train_coarse", "train_extra", "trainval_extra"]
COARSE = ("train_coarse", "train_extra", "trainval_extra")


class CityscapesDataModule(SegmentationDataModule):
    """Cityscapes: 19 classes in street scenes of 1024x2048 pixels; all other labels are void.

    The split "test" has no public masks; `deeplab predict` writes label maps for it.

    Args:
        root: Folder of leftImg8bit/, gtFine/ and gtCoarse/; a relative path is looked up in the working directory, then
            in the folder that DEEPLAB_DATA names (default: data).
        train_split: Split to train on: train (2975 images), trainval (3475), train_coarse (the coarse labels of train),
            train_extra (19997 images with coarse labels) or trainval_extra (trainval and train_extra).
        val_split: Split that `validate` scores: val (500).
        test_split: Split that `test` scores and whose images `predict` labels: val, or test (1525) for `predict`.
        half_resolution: Images and labels have half the size, as in v2's first experiments (section 4.4).
        image_size: Size (H, W) that every image must have; null for any size.
        kwargs: Settings of `SegmentationDataModule`.
    """

    published_images = NUM_IMAGES
    without_masks = WITHOUT_MASKS
    colors = CITYSCAPES_COLORS

    def __init__(
        self,
        root: str = "cityscapes",
        train_split: Split = "train",
        val_split: Split = "val",
        test_split: Split = "val",
        half_resolution: bool = False,
        image_size: tuple[int, int] | None = SIZE,
        **kwargs: Any,
    ) -> None:
        if coarse := [split for split in (val_split, test_split) if split in COARSE]:
            raise ValueError(f"coarse labels are not scored; got val_split or test_split {coarse[0]!r}")
        self.root, self.half_resolution, self.image_size = find_root(root), half_resolution, image_size
        super().__init__(
            CLASS_NAMES, "Cityscapes", train_split=train_split, val_split=val_split, test_split=test_split, **kwargs
        )

    @property
    def labels(self) -> str:
        """The source of the ground truth, as worded in the evaluation identity."""
        resolution = " at half resolution" if self.half_resolution else ""
        return f"fine labels{resolution}, 19 of 34 ids, the others 255 left out"

    def server(self, competition: Competition) -> Server:
        """The form of the label maps for Cityscapes' server: label ids at full resolution.

        Raises:
            ValueError: The predictions have half the resolution.
        """
        if self.half_resolution:
            raise ValueError(
                "Cityscapes' server accepts label maps at full resolution; set data.half_resolution to false"
            )
        return Server("Cityscapes", "cityscapes_test_results.zip", values=LABEL_IDS)

    def dataset(self, split: str, transform: Transform) -> CityscapesDataset:
        """The data set of a split."""
        size = None if self.image_size is None else (self.image_size[0], self.image_size[1])
        return CityscapesDataset(self.root, split, transform, size=size, half=self.half_resolution, seed=self.seed)
