"""COCO-Stuff."""

from typing import Any

from deeplab_lightning.datamodules.base import SegmentationDataModule
from deeplab_lightning.datamodules.folder import find_root
from deeplab_lightning.datasets.coco_stuff import CLASS_NAMES, NUM_IMAGES, COCOStuffDataset, Release
from deeplab_lightning.datasets.transforms import Transform

SPLITS: dict[str, tuple[str, str]] = {"10k": ("train", "test"), "164k": ("train2017", "val2017")}


class COCOStuffDataModule(SegmentationDataModule):
    """COCO-Stuff: 182 thing and stuff classes, of which 171 are labelled; unlabelled pixels are void.

    Args:
        root: Folder of the release; a relative path is looked up in the working directory, then in the folder that
            DEEPLAB_DATA names (default: data).
        release: Name of the release: "10k" trains on train and scores test, "164k" trains on train2017 and scores
            val2017.
        train_split: Split to train on; the default follows the release.
        val_split: Split that `validate` scores; the default follows the release.
        test_split: Split that `test` scores; the default follows the release.
        kwargs: Settings of `SegmentationDataModule`.
    """

    def __init__(
        self,
        root: str,
        release: Release = "164k",
        train_split: str | None = None,
        val_split: str | None = None,
        test_split: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.root, self.release, self.published_images = find_root(root), release, NUM_IMAGES[release]
        train, scored = SPLITS[release]
        super().__init__(
            CLASS_NAMES,
            f"COCO-Stuff {release}",
            train_split=train_split or train,
            val_split=val_split or scored,
            test_split=test_split or scored,
            **kwargs,
        )

    @property
    def labels(self) -> str:
        """The source of the ground truth, as worded in the evaluation identity."""
        return "COCO-Stuff's labels, unlabelled 255 left out"

    def dataset(self, split: str, transform: Transform) -> COCOStuffDataset:
        """The data set of a split."""
        return COCOStuffDataset(self.root, self.release, split, transform, seed=self.seed)
