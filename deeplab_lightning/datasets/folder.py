"""Your own data: a tree in the VOC layout, or plain folders images/ and masks/."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.datasets.class_names import LabelMap
from deeplab_lightning.datasets.faults import NoSuchSplitError
from deeplab_lightning.datasets.images import DataError, Sample
from deeplab_lightning.datasets.masks import read_folder_mask
from deeplab_lightning.datasets.pixels import RGB, PixelFormat, read_pixels
from deeplab_lightning.datasets.segmentation import (
    IMAGE_SUFFIXES,
    SegmentationDataset,
    find_files,
    list_images,
    read_ids,
)
from deeplab_lightning.datasets.transforms import EvaluationTransform, Transform


class FolderDataset(SegmentationDataset):
    """A split of a tree in the VOC layout, or of plain folders images/ and masks/.

    The VOC layout has JPEGImages, SegmentationClass and ImageSets/Segmentation/<split>.txt. Plain folders have the list
    in splits/<split>.txt, or no lists and a split ratio.

    Args:
        root: Folder of the tree.
        split: Name of the id list; with a split ratio "train", "val" or "test".
        num_classes: Number of classes; masks may hold 0 to num_classes - 1, and 255.
        transform: Transform of every sample.
        seed: Seed of the transform's random choices.
        label_map: Class of each colour or value in the masks; None for masks of class indices.
        split_ratio: Shares of train, val and test in plain folders without lists. A hash of the ids assigns the images,
            so the splits depend neither on the order of the files nor on the seed.
        pixel_format: Channels of the images, and the range of their values.

    Raises:
        DataError: The list is missing, empty or faulty, or names an image or a mask that does not exist.
        ValueError: The ratio is invalid, or lists make it superfluous.
    """

    def __init__(
        self,
        root: Path,
        split: str,
        num_classes: int,
        transform: Transform,
        seed: int = 0,
        label_map: LabelMap | None = None,
        split_ratio: tuple[float, float, float] | None = None,
        pixel_format: PixelFormat = RGB,
    ) -> None:
        plain = (root / "images").is_dir()
        if plain and (root / "JPEGImages").is_dir():
            raise DataError("it holds both images/ and JPEGImages/; remove or rename one of them", root)
        image_folder, mask_folder = (
            root / name for name in (("images", "masks") if plain else ("JPEGImages", "SegmentationClass"))
        )
        list_path = root / ("splits" if plain else "ImageSets/Segmentation") / f"{split}.txt"
        if split_ratio is None:
            if plain and not list_path.parent.is_dir():
                raise DataError(
                    "no such folder; put lists of ids there (train.txt, val.txt, test.txt), or set data.split_ratio, "
                    "for example to [0.8,0.1,0.1]",
                    list_path.parent,
                )
            image_ids = read_ids(list_path, f"the ids of split {split!r}")
        elif list_path.parent.is_dir():
            raise ValueError(f"split_ratio {split_ratio} would have no effect: {list_path.parent} holds the splits")
        else:
            list_path = image_folder
            image_ids = _ids_by_ratio(sorted(list_images(image_folder)), split, split_ratio, root)
        images, masks = (find_files(image_ids, folder, list_path) for folder in (image_folder, mask_folder))
        super().__init__(image_ids, images, masks, num_classes=num_classes, transform=transform, seed=seed)
        self.root, self.label_map, self.pixel_format = root, label_map, pixel_format

    def mask(self, index: int) -> Image.Image:
        """The mask of an image as class indices, looked up in the label map if there is one."""
        return read_folder_mask(self.mask_files[index], self.num_classes, self.label_map)

    def settings(self) -> str:
        """The settings that the masks depend on besides the files, as one line."""
        return f"{super().settings()}, label map {self.label_map}"


def _ids_by_ratio(image_ids: list[str], split: str, ratio: tuple[float, float, float], root: Path) -> list[str]:
    """The ids that a ratio assigns to a split."""
    splits = ("train", "val", "test")
    if split not in splits or min(ratio) < 0 or abs(sum(ratio) - 1) > 1e-6:
        raise ValueError(
            f"split_ratio must hold the shares of train, val and test, which add up to 1; got {ratio} for split "
            f"{split!r}"
        )
    order = sorted(image_ids, key=lambda image_id: hashlib.sha256(image_id.encode()).digest())
    position = splits.index(split)
    first, last = (round(sum(ratio[:end]) * len(order)) for end in (position, position + 1))
    if first == last:
        error = DataError if ratio[position] else NoSuchSplitError
        raise error(f"split_ratio {ratio} leaves split {split!r} none of its {len(order)} images", root)
    return sorted(order[first:last])


class ImageFiles(Dataset[Sample]):
    """Images without masks, for prediction; their masks are void throughout.

    Args:
        folder: Folder whose .jpg, .png and .tif files are read, in the order of their names.
        transform: Transform that normalises the images.
        pixel_format: Channels of the images, and the range of their values.

    Raises:
        DataError: The folder is missing or holds no such file.
    """

    def __init__(self, folder: Path, transform: EvaluationTransform, pixel_format: PixelFormat = RGB) -> None:
        self.files = sorted(list_images(folder).items())
        self.transform, self.pixel_format = transform, pixel_format
        if not self.files:
            raise DataError(f"it holds no {', '.join(IMAGE_SUFFIXES)} files", folder)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        image_id, path = self.files[index]
        image = read_pixels(path, self.pixel_format)
        void = Image.new("L", (image.shape[1], image.shape[0]), IGNORE_INDEX)
        pixels, mask = self.transform(image, void, np.random.default_rng(0))
        return {"image": pixels, "mask": mask, "image_id": image_id}
