"""ADE20K SceneParsing: 150 classes of things and stuff, in the layout of ADEChallengeData2016."""

from pathlib import Path

import numpy as np
from PIL import Image

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.datasets.ade20k_names import CLASS_NAMES
from deeplab_lightning.datasets.images import DataError, load, mask_of, size_of
from deeplab_lightning.datasets.segmentation import SegmentationDataset, find_files, list_images
from deeplab_lightning.datasets.transforms import Transform

WITHOUT_MASKS = "testing"
NUM_IMAGES = {"training": 20210, "validation": 2000}
"""Published number of images of each split; for the test images, sources differ."""


class ADE20KDataset(SegmentationDataset):
    """A split of ADE20K SceneParsing. Class k has label k + 1; label 0, other objects, is void.

    Args:
        root: Folder ADEChallengeData2016, with images/<split>/*.jpg and annotations/<split>/*.png; the test images are
            beside it, in release_test/testing/.
        split: Name of the split: training, validation or testing. The last one has no masks: all its pixels are void.
        transform: Transform of every sample.
        seed: Seed of the transform's random choices.

    Raises:
        DataError: A folder, an image or a label file is missing.
    """

    def __init__(self, root: Path, split: str, transform: Transform, seed: int = 0) -> None:
        self.has_masks = split != WITHOUT_MASKS
        if self.has_masks:
            folder = root / "annotations" / split
            labels = list_images(folder, (".png",))
            images = find_files(list(labels), root / "images" / split, folder)
        else:
            labels = list_images(root.parent / "release_test" / split)
            images = list(labels.values())
        super().__init__(
            list(labels),
            images,
            list(labels.values()),
            num_classes=len(CLASS_NAMES),
            transform=transform,
            seed=seed,
        )

    def mask(self, index: int) -> Image.Image:
        """The mask of an image.

        Raises:
            DataError: The label map cannot be read, is not 8-bit grey, or holds a label above 150.
        """
        path = self.mask_files[index]
        if not self.has_masks:
            return Image.new("L", size_of(path), IGNORE_INDEX)
        label_map = load(path)
        if label_map.mode != "L":
            raise DataError(f"labels are 8-bit grey (mode L), but this is in mode {label_map.mode}", path)
        labels = np.asarray(label_map)
        if (largest := int(labels.max())) > self.num_classes:
            raise DataError(f"label {largest} is above the {self.num_classes} classes", path)
        return mask_of(labels - np.uint8(1), path, self.num_classes)  # label 0 becomes 255
