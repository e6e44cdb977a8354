"""PASCAL-Person-Part: six parts of the body on images of VOC that hold people, in the layout of its archive."""

from pathlib import Path

from PIL import Image

from deeplab_lightning.datasets.images import read_mask
from deeplab_lightning.datasets.segmentation import SegmentationDataset, find_files, list_images, read_ids
from deeplab_lightning.datasets.transforms import Transform

CLASS_NAMES = ("background", "head", "torso", "upper arms", "lower arms", "upper legs", "lower legs")
NUM_IMAGES = {"train": 1716, "val": 1817}
"""Published number of images of each split (v2, section 4.3)."""


class PersonPartDataset(SegmentationDataset):
    """A split of PASCAL-Person-Part; the masks hold class indices, and 255, if it occurs, is void.

    Args:
        root: Folder VOC2010 or VOC2012, with JPEGImages.
        label_root: Folder pascal_person_part, with the lists and masks of the authors' archive.
        split: Name of the split: train or val.
        transform: Transform of every sample.
        seed: Seed of the transform's random choices.

    Raises:
        DataError: A list, an image or a mask is missing.
    """

    def __init__(self, root: Path, label_root: Path, split: str, transform: Transform, seed: int = 0) -> None:
        list_path = label_root / "pascal_person_part_trainval_list" / f"{split}_id.txt"
        image_ids = read_ids(list_path, f"the ids of split {split!r}")
        folder = label_root / "pascal_person_part_gt"
        masks = find_files(image_ids, folder, list_path, list_images(folder, (".png",)))
        images = find_files(image_ids, root / "JPEGImages", list_path)
        super().__init__(image_ids, images, masks, num_classes=len(CLASS_NAMES), transform=transform, seed=seed)

    def mask(self, index: int) -> Image.Image:
        """The mask of an image."""
        return read_mask(self.mask_files[index], self.num_classes)
