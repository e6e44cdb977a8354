"""Your own data in the VOC layout."""

import os
from pathlib import Path
from typing import Any

from deeplab_lightning.datamodules.base import SegmentationDataModule
from deeplab_lightning.datasets.folder import FolderDataset, read_class_names
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.transforms import Transform


class FolderDataModule(SegmentationDataModule):
    """Any tree in the VOC layout: JPEGImages, SegmentationClass, ImageSets/Segmentation/*.txt, class_names.txt.

    Args:
        root: of the tree; a relative path is sought here, then in the folder that DEEPLAB_DATA names (default: data).
        kwargs: see `SegmentationDataModule`.
    """

    def __init__(self, root: str, **kwargs: Any) -> None:
        self.root = find_root(root)
        super().__init__(read_class_names(self.root), self.root.name, **kwargs)

    def dataset(self, split: str, transform: Transform) -> FolderDataset:
        """The data set of an id list in ImageSets/Segmentation."""
        return FolderDataset(self.root, split, self.num_classes, transform, self.seed)


def find_root(root: str) -> Path:
    """The folder of that name, here or in the data folder.

    Raises:
        DataError: it is in neither place, or empty.
    """
    places = [Path(root)]
    if not places[0].is_absolute():
        places.append(Path(os.environ.get("DEEPLAB_DATA", "data")) / root)
    for place in places:
        if place.is_dir():
            if not any(place.iterdir()):
                raise DataError(f"data root {place} is empty")
            return place.resolve()
    tried = " or ".join(str(place) for place in places)
    raise DataError(
        f"data root {root!r} is not there (looked for {tried}); set --data.root, or DEEPLAB_DATA to the data folder"
    )
