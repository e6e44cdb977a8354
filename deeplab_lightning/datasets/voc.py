"""PASCAL VOC 2012, alone or with the labels of SBD."""

from pathlib import Path

from PIL import Image

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.datasets.faults import refuse
from deeplab_lightning.datasets.images import read_mask, size_of
from deeplab_lightning.datasets.sbd import read_sbd_ids, read_sbd_mask
from deeplab_lightning.datasets.segmentation import SegmentationDataset, find_files, list_images, read_ids
from deeplab_lightning.datasets.transforms import Transform

CLASS_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
AUGMENTED = ("train_aug", "trainval_aug")
WITHOUT_MASKS = "test"
NUM_IMAGES = {
    "train": 1464, "val": 1449, "trainval": 2913, "test": 1456, "train_aug": 10582, "trainval_aug": 12031
}  # fmt: skip
"""Published number of images of each split."""


def split_ids(root: Path, split: str, sbd_root: Path | None = None) -> list[str]:
    """The ids of a split; those of the augmented splits are computed.

    train_aug is the union of VOC's train, SBD's train and SBD's val, without VOC's val; trainval_aug is the union of
    train_aug and VOC's val.

    Args:
        root: Folder VOC2012, with ImageSets/Segmentation.
        split: Name of the split: train, val, trainval, test, train_aug or trainval_aug.
        sbd_root: SBD's folder `dataset`, which the augmented splits need.

    Raises:
        DataError: A list is missing or faulty.
        ValueError: The split is augmented, and `sbd_root` is not given.
    """
    if split not in AUGMENTED:
        return _voc_ids(root, split)
    if sbd_root is None:
        raise ValueError(f"split {split!r} needs SBD; set sbd_root to its folder benchmark_RELEASE/dataset")
    train, val = _voc_ids(root, "train"), _voc_ids(root, "val")
    train_aug = sorted({*train, *read_sbd_ids(sbd_root)} - {*val})
    return train_aug if split == "train_aug" else sorted({*train_aug, *val})


def _voc_ids(root: Path, split: str) -> list[str]:
    return read_ids(root / "ImageSets" / "Segmentation" / f"{split}.txt", f"the ids of split {split!r}")


class VOCDataset(SegmentationDataset):
    """A split of VOC 2012. Where both VOC and SBD have a mask of an image, VOC's mask is used.

    All images are read from VOC's JPEGImages, which holds those of SBD too. VOC's masks are in SegmentationClass and
    have void borders. SBD's masks are read from its .mat files and have no void. The split "test" has no masks: all its
    pixels are void.

    Args:
        root: Folder VOC2012, with JPEGImages, SegmentationClass and ImageSets.
        split: Name of the split: train, val, trainval, test, train_aug or trainval_aug.
        transform: Transform of every sample.
        sbd_root: SBD's folder `dataset`, with cls/, train.txt and val.txt, which the augmented splits need.
        seed: Seed of the transform's random choices.

    Raises:
        DataError: A list, an image or a mask is missing.
    """

    def __init__(
        self, root: Path, split: str, transform: Transform, sbd_root: Path | None = None, seed: int = 0
    ) -> None:
        image_ids = split_ids(root, split, sbd_root)
        origin = sbd_root if split in AUGMENTED and sbd_root else root / "ImageSets" / "Segmentation" / f"{split}.txt"
        images = find_files(image_ids, root / "JPEGImages", origin)
        self.has_masks = split != WITHOUT_MASKS
        masks = self._find_masks(root, image_ids, origin, sbd_root) if self.has_masks else images
        super().__init__(image_ids, images, masks, num_classes=len(CLASS_NAMES), transform=transform, seed=seed)

    @staticmethod
    def _find_masks(root: Path, image_ids: list[str], origin: Path, sbd_root: Path | None) -> list[Path]:
        folder = root / "SegmentationClass"
        own = list_images(folder, (".png",))
        others = list_images(sbd_root / "cls", (".mat",)) if sbd_root == origin else {}
        voc = {*_voc_ids(root, "train"), *_voc_ids(root, "val")} if others else set()
        for image_id in image_ids:
            if image_id in voc and image_id in others and image_id not in own:
                refuse("no such file; SBD's mask does not replace it", folder / image_id)
        return find_files(image_ids, folder, origin, others | own)

    def mask(self, index: int) -> Image.Image:
        """The mask of an image, from VOC's PNG or SBD's .mat."""
        path = self.mask_files[index]
        if not self.has_masks:
            return Image.new("L", size_of(path), IGNORE_INDEX)
        return read_sbd_mask(path) if path.suffix == ".mat" else read_mask(path, self.num_classes)
