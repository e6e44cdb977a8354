"""Any tree in the VOC layout: JPEGImages, SegmentationClass, ImageSets/Segmentation/*.txt, class_names.txt."""

from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.datasets.images import DataError, Sample, read_image, read_pair
from deeplab_lightning.datasets.transforms import EvaluationTransform, Transform

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


def read_class_names(root: Path) -> list[str]:
    """The names in class_names.txt, line k naming class k.

    Raises:
        DataError: there is no such file, it holds fewer than two names, or a name twice.
    """
    path = root / "class_names.txt"
    if not path.is_file():
        raise DataError(f"{path}: no such file; it names one class a line, in the order of the mask values")
    names = path.read_text().split("\n")
    while names and not names[-1].strip():
        names.pop()
    names = [name.strip() for name in names]
    if len(names) < 2 or "" in names or len(set(names)) < len(names):
        raise DataError(f"{path}: it must hold at least two names, each once, and no empty line")
    return names


class FolderDataset(Dataset[Sample]):
    """A split of a tree in the VOC layout.

    Items are asked for by index, or by (index, epoch): what a transform draws depends on (seed, epoch, index) alone, so
    it is the same for any number of loader workers.

    Args:
        root: of the tree.
        split: name of the id list in ImageSets/Segmentation.
        num_classes: masks may hold 0 to num_classes - 1, and 255.
        transform: applied to every sample.
        seed: of what the transform draws.

    Raises:
        DataError: the list is missing, empty, or names an image or a mask that is not there.
    """

    def __init__(self, root: Path, split: str, num_classes: int, transform: Transform, seed: int = 0) -> None:
        self.num_classes, self.transform, self.seed = num_classes, transform, seed
        list_path = root / "ImageSets" / "Segmentation" / f"{split}.txt"
        if not list_path.is_file():
            raise DataError(f"{list_path}: no such file; it lists the ids of split {split!r}, one a line")
        self.image_ids = list_path.read_text().split()
        if not self.image_ids:
            raise DataError(f"{list_path}: it lists no ids")
        images, masks = list_images(root / "JPEGImages"), list_images(root / "SegmentationClass")
        for image_id in self.image_ids:
            for folder, files in (("JPEGImages", images), ("SegmentationClass", masks)):
                if image_id not in files:
                    raise DataError(f"{root / folder / image_id}: no such image, but {list_path} lists its id")
        self.images = [images[image_id] for image_id in self.image_ids]
        self.masks = [masks[image_id] for image_id in self.image_ids]

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        index, epoch = key if isinstance(key, tuple) else (key, 0)
        image, mask = read_pair(self.images[index], self.masks[index], self.num_classes)
        rng = np.random.default_rng((self.seed, epoch, index))
        pixels, target = self.transform(image, mask, rng)
        return {"image": pixels, "mask": target, "image_id": self.image_ids[index]}


class ImageFiles(Dataset[Sample]):
    """Images without masks, for prediction; their masks are void throughout.

    Args:
        folder: every .jpg, .jpeg and .png in it, by name.
        transform: normalises.
    """

    def __init__(self, folder: Path, transform: EvaluationTransform) -> None:
        self.files = sorted(list_images(folder).items())
        self.transform = transform
        if not self.files:
            raise DataError(f"{folder}: it holds no {', '.join(IMAGE_SUFFIXES)} files")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        image_id, path = self.files[index]
        image = read_image(path)
        void = Image.new("L", image.size, IGNORE_INDEX)
        pixels, mask = self.transform(image, void, np.random.default_rng(0))
        return {"image": pixels, "mask": mask, "image_id": image_id}


def list_images(folder: Path) -> dict[str, Path]:
    """The image files of a folder by their names without the ending."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            if other := files.get(path.stem):
                raise DataError(f"{other} and {path.name} share one id")
            files[path.stem] = path
    return files
