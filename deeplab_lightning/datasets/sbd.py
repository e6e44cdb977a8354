"""SBD, the Semantic Boundaries Dataset: its id lists and its MATLAB label files, read without conversion."""

from pathlib import Path

from PIL import Image

from deeplab_lightning.datasets.images import DataError, mask_of
from deeplab_lightning.datasets.matlab import read_matlab_labels
from deeplab_lightning.datasets.segmentation import read_ids

NUM_CLASSES = 21


def read_sbd_ids(root: Path) -> list[str]:
    """The ids of SBD's own train list, followed by those of its val list.

    Args:
        root: Folder `dataset` of the release, with train.txt, val.txt and cls/.

    Raises:
        DataError: A list is missing or faulty, or an id is in both lists.
    """
    image_ids: list[str] = []
    for split in ("train", "val"):
        image_ids += read_ids(root / f"{split}.txt", f"the ids of SBD's split {split!r}")
    if len(set(image_ids)) < len(image_ids):
        twice = next(image_id for number, image_id in enumerate(image_ids) if image_id in image_ids[:number])
        raise DataError(f"the id {twice!r} is in both train.txt and val.txt", root)
    return image_ids


def read_sbd_mask(path: Path) -> Image.Image:
    """The class mask in a cls/*.mat file (GTcls.Segmentation), with values 0 to 20 and no void.

    Raises:
        DataError: The file is missing, is not a MATLAB file, lacks the field, or has a value that is not a class.
    """
    return mask_of(read_matlab_labels(path, "GTcls", "Segmentation"), path, NUM_CLASSES)
