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
from deeplab_lightning.datasets.polygons import Annotations, COCOPolygons
from deeplab_lightning.datasets.segmentation import (
    IMAGE_SUFFIXES,
    SegmentationDataset,
    find_files,
    list_images,
    read_ids,
)
from deeplab_lightning.datasets.transforms import EvaluationTransform, Transform

Ratio = tuple[float, float, float]
"""Shares of train, val and test."""


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
        annotations: Polygons in place of masks. If each split has a file of its own, its images are the split.

    Raises:
        DataError: The list is missing, empty or faulty, or names an image or a mask that does not exist.
        ValueError: The ratio is invalid, or lists or files of the splits make it superfluous.
    """

    def __init__(
        self,
        root: Path,
        split: str,
        num_classes: int,
        transform: Transform,
        seed: int = 0,
        label_map: LabelMap | None = None,
        split_ratio: Ratio | None = None,
        pixel_format: PixelFormat = RGB,
        annotations: Annotations | None = None,
    ) -> None:
        plain = (root / "images").is_dir()
        if plain and (root / "JPEGImages").is_dir():
            raise DataError("it holds both images/ and JPEGImages/; remove or rename one of them", root)
        image_folder, mask_folder = (
            root / name for name in (("images", "masks") if plain else ("JPEGImages", "SegmentationClass"))
        )
        self.root, self.label_map, self.pixel_format, self.annotations = root, label_map, pixel_format, annotations
        self.polygons = None if annotations is None else annotations.open(split)
        if annotations is not None and annotations.by_split and isinstance(self.polygons, COCOPolygons):
            list_path, image_ids = self.polygons.path, self.polygons.image_ids
            if split_ratio is not None:
                raise ValueError(f"split_ratio {split_ratio} would have no effect: {list_path} holds a split")
        else:
            lists = root / ("splits" if plain else "ImageSets/Segmentation")
            list_path, image_ids = _listed_or_drawn(image_folder, lists, split, split_ratio)
        images = find_files(image_ids, image_folder, list_path)
        if self.polygons is None:
            masks = find_files(image_ids, mask_folder, list_path)
        else:
            masks = self.polygons.files(image_ids, list_path)
        super().__init__(image_ids, images, masks, num_classes=num_classes, transform=transform, seed=seed)

    def mask(self, index: int) -> Image.Image:
        """The mask of an image as class indices: drawn from polygons, or looked up in the label map if there is one."""
        if self.polygons is not None:
            return self.polygons.mask(self.image_ids[index], self.mask_files[index])
        return read_folder_mask(self.mask_files[index], self.num_classes, self.label_map)

    def settings(self) -> str:
        """The settings that the masks depend on besides the files, as one line."""
        drawn = "" if self.annotations is None else f", {self.annotations}"
        return f"{super().settings()}, label map {self.label_map}{drawn}"


def _listed_or_drawn(image_folder: Path, lists: Path, split: str, ratio: Ratio | None) -> tuple[Path, list[str]]:
    """The file or folder that names the ids of a split, and the ids: those of its list, or those of a ratio."""
    path = lists / f"{split}.txt"
    if ratio is not None:
        if lists.is_dir():
            raise ValueError(f"split_ratio {ratio} would have no effect: {lists} holds the splits")
        return image_folder, ids_by_ratio(sorted(list_images(image_folder)), split, ratio, image_folder.parent)
    if lists.name == "splits" and not lists.is_dir():
        raise DataError(
            "no such folder; put lists of ids there (train.txt, val.txt, test.txt), or set data.split_ratio, for "
            "example to [0.8,0.1,0.1]",
            lists,
        )
    return path, read_ids(path, f"the ids of split {split!r}")


def ids_by_ratio(image_ids: list[str], split: str, ratio: Ratio, root: Path) -> list[str]:
    """The ids that a ratio assigns to a split.

    Args:
        image_ids: Ids of all images.
        split: "train", "val" or "test".
        ratio: Shares of these three.
        root: Folder that the error names.

    Raises:
        ValueError: The ratio or the name of the split is invalid.
        DataError: The split gets no image.
    """
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
