"""Labels of your own data as polygons: one COCO JSON for all images or for a split, or one labelme JSON an image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.datasets.class_names import CLASS_FILE, VOID
from deeplab_lightning.datasets.coco_instances import Overlap, paint, read_instances
from deeplab_lightning.datasets.faults import NoSuchSplitError, refuse
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.labelme import read_drawing
from deeplab_lightning.datasets.segmentation import find_files, list_images
from deeplab_lightning.palette import BACKGROUND
from deeplab_lightning.usage import did_you_mean

SPLIT = "{split}"
"""Stands for the name of the split in the path of a file for each split."""
VOID_LABELS = (VOID, "__ignore__")
"""Labels of regions that are left out; the second is labelme's."""


@dataclass(frozen=True)
class Annotations:
    """The place of the polygons, and how they become label maps.

    Pixels in no polygon are of the class "background", or void if no class has this name.

    Args:
        path: COCO JSON, in whose path {split} may stand for the name of the split, or folder of labelme's files.
        class_names: Names of the classes, which are the names of COCO's categories and labelme's labels.
        overlap: Class of a pixel in several polygons: that of the "last" or the "first" one in the file, or "void".
    """

    path: Path
    class_names: tuple[str, ...]
    overlap: Overlap = "last"

    @property
    def by_split(self) -> bool:
        """Whether each split has a file of its own, whose images are the split."""
        return SPLIT in str(self.path)

    @property
    def uncovered(self) -> int:
        """The class of the pixels in no polygon."""
        return self.class_names.index(BACKGROUND) if BACKGROUND in self.class_names else IGNORE_INDEX

    def open(self, split: str) -> "COCOPolygons | LabelmePolygons":
        """The polygons of a split.

        Raises:
            DataError: The file is missing or faulty, or an annotation is of a category that is no class.
        """
        return LabelmePolygons(self) if self.path.is_dir() else COCOPolygons(self, split)

    def class_of(self, name: object, what: str, path: Path) -> int | None:
        """The class, or 255 for void, of a category or label; None, if faults are collected, where there is none.

        Args:
            name: Name of the category or label.
            what: Words for the place of the name in the error.
            path: File that holds it.

        Raises:
            DataError: The name is not that of a class.
        """
        if name in VOID_LABELS:
            return IGNORE_INDEX
        if isinstance(name, str) and name in self.class_names:
            return self.class_names.index(name)
        near = did_you_mean(str(name), self.class_names) or f", out of {', '.join(self.class_names)}"
        refuse(f"{what} {name!r} is no class in {CLASS_FILE}{near}", path)
        return None


def names_in(path: Path) -> list[str]:
    """The names of all classes in COCO JSONs, by their ids, or in labelme's files, in alphabetical order.

    Args:
        path: COCO JSON, in whose path {split} stands for any name, or folder of labelme's files.

    Raises:
        DataError: A file cannot be read.
    """
    names: set[tuple[int, str]] = set()
    if path.is_dir():
        for file in list_images(path, (".json",)).values():
            names |= {(0, label) for label, _, _ in read_drawing(file).shapes}
    for file in [] if path.is_dir() else sorted(path.parent.glob(path.name.replace(SPLIT, "*"))):

        def note(content: Mapping[str, Any], category: Any) -> None:
            names.update((each["id"], each["name"]) for each in content["categories"] if each["id"] == category)

        read_instances(file, note)
    return list(dict.fromkeys(name for _, name in sorted(names) if name not in VOID_LABELS))


class COCOPolygons:
    """The instances of a COCO JSON as label maps; crowd regions are void.

    Args:
        annotations: Place of the file, and the classes.
        split: Name of the split.

    Raises:
        DataError: The file is missing or faulty, or an annotation is of a category that is no class.
    """

    def __init__(self, annotations: Annotations, split: str) -> None:
        self.annotations, self.path = annotations, Path(str(annotations.path).replace(SPLIT, split))
        if annotations.by_split and not self.path.is_file():
            raise NoSuchSplitError(f"no such file; it holds the images and polygons of split {split!r}", self.path)
        self.instances = read_instances(self.path, self._class_of)
        self.image_ids = self.instances.image_ids
        self.numbers = {image_id: number for number, image_id in enumerate(self.image_ids)}
        if len(self.numbers) < len(self.image_ids):
            twice = next(each for number, each in enumerate(self.image_ids) if self.numbers[each] != number)
            raise DataError(f"it lists two images with the id {twice!r}, the name without its suffix", self.path)

    def _class_of(self, content: Mapping[str, Any], category: Any) -> int | None:
        names = {each["id"]: each["name"] for each in content["categories"]}
        return self.annotations.class_of(names.get(category, category), "the category", self.path)

    def files(self, image_ids: Sequence[str], list_path: Path) -> list[Path]:
        """The file, once for each image.

        Raises:
            DataError: The file does not hold an image.
        """
        for image_id in image_ids:
            if image_id not in self.numbers:
                refuse(f"it has no image {image_id!r}, but {list_path} lists it", self.path)
        return [self.path] * len(image_ids)

    def mask(self, image_id: str, path: Path) -> Image.Image:
        """The label map of an image.

        Raises:
            DataError: The file does not hold the image, or an annotation has an invalid region.
        """
        if image_id not in self.numbers:
            raise DataError(f"it has no image {image_id!r}", path)
        return self.instances.draw(self.numbers[image_id], self.annotations.overlap, self.annotations.uncovered)


class LabelmePolygons:
    """The shapes in labelme's files as label maps.

    Args:
        annotations: Folder of the files, and the classes.
    """

    def __init__(self, annotations: Annotations) -> None:
        self.annotations = annotations

    def files(self, image_ids: Sequence[str], list_path: Path) -> list[Path]:
        """The file of each image.

        Raises:
            DataError: A file is missing.
        """
        folder = self.annotations.path
        return find_files(image_ids, folder, list_path, list_images(folder, (".json",)))

    def mask(self, image_id: str, path: Path) -> Image.Image:
        """The label map of an image.

        Raises:
            DataError: The file is faulty, or a label is that of no class.
        """
        own, drawing = self.annotations, read_drawing(path)
        classes = {label: own.class_of(label, "the label", path) for label, _, _ in drawing.shapes}
        regions = ((region, label) for name, region in drawing.regions() if (label := classes[name]) is not None)
        return paint(regions, drawing.size, own.overlap, own.uncovered)
