"""ADE20K SceneParsing."""

from typing import Any, Literal

from deeplab_lightning.datamodules.base import SegmentationDataModule
from deeplab_lightning.datamodules.folder import find_root
from deeplab_lightning.datasets.ade20k import NUM_IMAGES, WITHOUT_MASKS, ADE20KDataset
from deeplab_lightning.datasets.ade20k_names import CLASS_NAMES, COLORS
from deeplab_lightning.datasets.submission import Competition, Server
from deeplab_lightning.datasets.transforms import Transform

Split = Literal["training", "validation", "testing"]


class ADE20KDataModule(SegmentationDataModule):
    """ADE20K SceneParsing: 150 classes of things and stuff; other objects, label 0, are void.

    The split "testing" has no public masks; `deeplab predict` writes label maps for it.

    Args:
        root: Folder ADEChallengeData2016, with images/ and annotations/; a relative path is looked up in the working
            directory, then in the folder that DEEPLAB_DATA names (default: data).
        train_split: Split to train on: training (20210 images).
        val_split: Split that `validate` scores: validation (2000).
        test_split: Split that `test` scores and whose images `predict` labels: validation, or testing for `predict`.
        kwargs: Settings of `SegmentationDataModule`.
    """

    published_images = NUM_IMAGES
    without_masks = WITHOUT_MASKS
    colors = COLORS

    def __init__(
        self,
        root: str = "ADEChallengeData2016",
        train_split: Split = "training",
        val_split: Split = "validation",
        test_split: Split = "validation",
        **kwargs: Any,
    ) -> None:
        self.root = find_root(root)
        super().__init__(
            CLASS_NAMES, "ADE20K", train_split=train_split, val_split=val_split, test_split=test_split, **kwargs
        )

    @property
    def labels(self) -> str:
        """The source of the ground truth, as worded in the evaluation identity."""
        return "SceneParsing's 150 classes, other objects 255 left out"

    def server(self, competition: Competition) -> Server:
        """The form of the label maps for SceneParsing's server: labels 1 to 150."""
        return Server("SceneParsing", "ade20k_test_results.zip", values=tuple(range(1, self.num_classes + 1)))

    def dataset(self, split: str, transform: Transform) -> ADE20KDataset:
        """The data set of a split."""
        return ADE20KDataset(self.root, split, transform, seed=self.seed)
