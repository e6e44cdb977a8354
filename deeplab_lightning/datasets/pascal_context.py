"""PASCAL-Context: the images of VOC 2010 with labels for every pixel, of which the 59 most frequent are used."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeplab_lightning.datasets.images import mask_of
from deeplab_lightning.datasets.matlab import read_matlab_numbers
from deeplab_lightning.datasets.segmentation import SegmentationDataset, find_files, list_images, read_ids
from deeplab_lightning.datasets.transforms import Transform

CLASS_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor", "bag", "bed", "bench",
    "book", "building", "cabinet", "ceiling", "clothes", "computer", "cup", "door", "fence", "floor", "flower", "food",
    "grass", "ground", "keyboard", "light", "mountain", "mouse", "curtain", "platform", "sign", "plate", "road", "rock",
    "shelves", "sidewalk", "sky", "snow", "bedcloth", "track", "tree", "truck", "wall", "water", "window", "wood",
)  # fmt: skip
"""Background and the classes in the order of the authors' 59_labels.txt, whose first 20 are VOC's."""
LABELS = (
    2, 23, 25, 31, 34, 45, 59, 65, 72, 98, 397, 113, 207, 258, 284, 308, 347, 368, 416, 427, 9, 18, 22, 33, 44, 46, 68,
    80, 85, 104, 115, 144, 158, 159, 162, 187, 189, 220, 232, 259, 260, 105, 296, 355, 295, 324, 326, 349, 354, 360,
    366, 19, 415, 420, 424, 440, 445, 454, 458,
)  # fmt: skip
"""Label of each class after background, among the 459 of labels.txt. Every other label is background."""
NUM_LABELS = 459
NUM_IMAGES = {"train": 4998, "val": 5105, "trainval": 10103}
"""Published number of images of each split."""


class PascalContextDataset(SegmentationDataset):
    """A split of PASCAL-Context.

    There is no void: with background as a class, every pixel is scored (v2, section 4.2). Without it, its pixels are
    void, which scores higher; numbers of the two tasks cannot be compared.

    Args:
        root: Folder VOC2010, with JPEGImages and ImageSets/Main, whose lists are those of PASCAL-Context.
        label_root: Folder of the labels <id>.mat, with the variable LabelMap.
        split: Name of the split: train, val or trainval.
        transform: Transform of every sample.
        background: Whether background is a class, the first of 60; if not, the 59 others are classes.
        seed: Seed of the transform's random choices.

    Raises:
        DataError: A list, an image or a label file is missing.
    """

    def __init__(
        self,
        root: Path,
        label_root: Path,
        split: str,
        transform: Transform,
        background: bool = True,
        seed: int = 0,
    ) -> None:
        self.background = background
        list_path = root / "ImageSets" / "Main" / f"{split}.txt"
        image_ids = read_ids(list_path, f"the ids of split {split!r}")
        images = find_files(image_ids, root / "JPEGImages", list_path)
        masks = find_files(image_ids, label_root, list_path, list_images(label_root, (".mat",)))
        num_classes = len(CLASS_NAMES) - (not background)
        super().__init__(image_ids, images, masks, num_classes=num_classes, transform=transform, seed=seed)

    def mask(self, index: int) -> Image.Image:
        """The mask of an image."""
        path = self.mask_files[index]
        classes = _CLASSES[read_matlab_numbers(path, "LabelMap", maximum=NUM_LABELS)]
        if not self.background:
            classes = classes - np.uint8(1)  # background, 0, becomes 255
        return mask_of(classes, path, self.num_classes)


def _classes() -> NDArray[np.uint8]:
    """The class of each label (460,)."""
    table = np.zeros(NUM_LABELS + 1, np.uint8)
    table[list(LABELS)] = np.arange(1, len(LABELS) + 1)
    return table


_CLASSES = _classes()
