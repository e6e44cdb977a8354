"""COCO-Stuff: 182 thing and stuff classes, in the layouts of the 10k and the 164k release."""

from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.datasets.coco_names import THINGS_AND_STUFF
from deeplab_lightning.datasets.images import mask_of, read_mask
from deeplab_lightning.datasets.matlab import read_matlab_labels
from deeplab_lightning.datasets.segmentation import SegmentationDataset, find_files, list_images, read_ids
from deeplab_lightning.datasets.transforms import Transform

Release = Literal["10k", "164k"]
CLASS_NAMES = THINGS_AND_STUFF
NUM_IMAGES: dict[str, dict[str, int]] = {
    "10k": {"train": 9000, "test": 1000}, "164k": {"train2017": 118287, "val2017": 5000}
}  # fmt: skip
"""Published number of images of each split of a release."""


class COCOStuffDataset(SegmentationDataset):
    """A split of COCO-Stuff. Class k is the category with id k + 1; unlabelled pixels are void.

    10k has images/, annotations/*.mat (labels start at 1, and 0 means unlabelled) and imageLists/<split>.txt. 164k has
    COCO's <split>/*.jpg (or images/<split>/) and the pixel maps stuffthingmaps/<split>/*.png (or annotations/<split>/);
    their labels start at 0, and 255 means unlabelled.

    Args:
        root: Folder of the release.
        release: Name of the release, "10k" or "164k".
        split: Name of the split: train or test for 10k, train2017 or val2017 for 164k.
        transform: Transform of every sample.
        seed: Seed of the transform's random choices.

    Raises:
        DataError: A list, an image or a label file is missing.
    """

    def __init__(self, root: Path, release: Release, split: str, transform: Transform, seed: int = 0) -> None:
        if release == "10k":
            images, masks = root / "images", root / "annotations"
            list_path = root / "imageLists" / f"{split}.txt"
            image_ids, labels = read_ids(list_path, f"the ids of split {split!r}"), list_images(masks, (".mat",))
        else:
            images = root / "images" / split if (root / "images").is_dir() else root / split
            masks = root / "stuffthingmaps" / split
            masks = masks if masks.is_dir() else root / "annotations" / split
            labels = list_images(masks, (".png",))
            image_ids, list_path = sorted(labels), masks
        files, found = find_files(image_ids, images, list_path), find_files(image_ids, masks, list_path, labels)
        super().__init__(image_ids, files, found, num_classes=len(CLASS_NAMES), transform=transform, seed=seed)

    def mask(self, index: int) -> Image.Image:
        """The mask of an image."""
        path = self.mask_files[index]
        if path.suffix != ".mat":
            return read_mask(path, self.num_classes)
        labels = read_matlab_labels(path, "S")
        return mask_of(np.where(labels == 0, IGNORE_INDEX, labels - 1).astype(np.uint8), path, self.num_classes)
