"""COCO 2017: instance annotations drawn as semantic masks."""

import json
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.datasets import voc
from deeplab_lightning.datasets.coco_names import IDS_IN_USE, THINGS_AND_STUFF, VOC_CATEGORIES
from deeplab_lightning.datasets.coco_regions import draw
from deeplab_lightning.datasets.faults import refuse
from deeplab_lightning.datasets.images import MAX_PIXELS, DataError
from deeplab_lightning.datasets.segmentation import SegmentationDataset, find_files
from deeplab_lightning.datasets.transforms import Transform

Classes = Literal["voc21", "coco81", "coco91"]
Overlap = Literal["void", "first"]
Annotation = dict[str, Any]

NUM_IMAGES = {"train2017": 118287, "val2017": 5000}
"""Published number of images of each split."""


def class_names(classes: Classes) -> list[str]:
    """The names of a set of classes, background first."""
    if classes == "voc21":
        return list(voc.CLASS_NAMES)
    categories = IDS_IN_USE if classes == "coco81" else range(1, 91)
    return ["background", *(THINGS_AND_STUFF[category - 1] for category in categories)]


def class_of_category(classes: Classes) -> dict[int, int]:
    """Class index by category id; all other categories are background."""
    categories = {"voc21": VOC_CATEGORIES, "coco81": IDS_IN_USE, "coco91": range(1, 91)}[classes]
    return {category: index for index, category in enumerate(categories, 1)}


class COCODataset(SegmentationDataset):
    """A split of COCO 2017. Crowd regions of the chosen classes are void.

    Args:
        root: Folder with <split>/ and annotations/instances_<split>.json.
        split: Name of the split, train2017 or val2017.
        transform: Transform of every sample.
        classes: Set of classes. "voc21" is VOC's 20 classes and background, "coco81" COCO's 80 categories and
            background. "coco91" takes the category id as class index, with 0 for background; ten of its ids are never
            annotated.
        overlap: Class of a pixel in several instances: "void" (torchvision), or the class of the instance that is
            annotated "first".
        seed: Seed of the transform's random choices.

    Raises:
        DataError: The annotations are missing or faulty, or they list an image that does not exist.
    """

    def __init__(
        self,
        root: Path,
        split: str,
        transform: Transform,
        classes: Classes = "voc21",
        overlap: Overlap = "void",
        seed: int = 0,
    ) -> None:
        self.overlap, self.classes = overlap, class_of_category(classes)
        path = root / "annotations" / f"instances_{split}.json"
        records, annotations = _read_annotations(path, self.classes)
        image_ids = [Path(record["file_name"]).stem for record in records]
        images = find_files(image_ids, root / split, path)
        num_classes = len(class_names(classes))
        super().__init__(
            image_ids, images, [path] * len(images), num_classes=num_classes, transform=transform, seed=seed
        )
        self.sizes = [(record["width"], record["height"]) for record in records]
        # One byte string per image, not Python objects: it is small, and a forked loader worker shares its memory.
        # (Reading an object writes its reference count, and so copies the page it lies in.)
        self.annotations = [json.dumps(annotations.get(record["id"], [])).encode() for record in records]

    def mask(self, index: int) -> Image.Image:
        """The mask of an image, drawn from its annotations."""
        width, height = self.sizes[index]
        labels, times = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
        crowd = np.zeros((height, width), bool)
        for annotation in json.loads(self.annotations[index]):
            try:
                region = draw(annotation["segmentation"], height, width)
            except DataError as error:
                fault = f"annotation {annotation['id']!r} of image {self.image_ids[index]} {error}"
                raise DataError(fault, self.mask_files[index]) from error
            if annotation.get("iscrowd"):
                crowd |= region
            else:
                label = self.classes[annotation["category_id"]]
                labels[region & (labels == 0)] = label
                times += region
        if self.overlap == "void":
            labels[times > 1] = IGNORE_INDEX
        labels[crowd] = IGNORE_INDEX
        return Image.fromarray(labels)

    def annotated_area(self, index: int) -> float:
        """The sum of the areas of the annotations of the chosen classes, in pixels."""
        return float(sum(annotation["area"] for annotation in json.loads(self.annotations[index])))

    def settings(self) -> str:
        """The settings that the masks depend on besides the files, as one line."""
        return f"{super().settings()}, categories {self.classes}, overlap {self.overlap}"

    def _per_image(self) -> tuple[str, ...]:
        return *super()._per_image(), "sizes", "annotations"


def _read_annotations(path: Path, classes: dict[int, int]) -> tuple[list[dict[str, Any]], dict[int, list[Annotation]]]:
    """The image records in the order of their ids, and the annotations of the chosen classes by image id.

    Raises:
        DataError: The file is missing or not JSON, lacks images or annotations, or its annotations name other images.
    """
    try:
        content = json.loads(path.read_bytes())
        records, annotations = content["images"], content["annotations"]
        for record in records:
            _check_record(record, path)
        image_ids = {record["id"] for record in records}
        kept = _by_image(annotations, image_ids, classes, path)
    except FileNotFoundError as error:
        raise DataError("no such file", path) from error
    except DataError:
        raise
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(f"it is not a COCO instances file ({type(error).__name__}: {error})", path) from error
    if not records:
        raise DataError("it lists no images", path)
    if len(image_ids) < len(records) or len({record["file_name"] for record in records}) < len(records):
        raise DataError("it lists an image id or a file name twice", path)
    return sorted(records, key=lambda record: record["id"]), kept


def _check_record(record: dict[str, Any], path: Path) -> None:
    """Refuse an image record whose id is not an integer, whose name is not a string, or whose size is impossible."""
    image_id, name, width, height = (record[key] for key in ("id", "file_name", "width", "height"))
    if type(image_id) is not int or not isinstance(name, str):
        raise DataError(f"an image has id {image_id!r} and file name {name!r}; expected an integer and a string", path)
    if type(width) is not int or type(height) is not int or min(width, height) < 1 or width * height > MAX_PIXELS:
        raise DataError(
            f"image {image_id} has width {width!r} and height {height!r}; integers are expected, and at most "
            f"{MAX_PIXELS} pixels",
            path,
        )


def _by_image(
    annotations: list[dict[str, Any]], image_ids: set[int], classes: dict[int, int], path: Path
) -> dict[int, list[Annotation]]:
    """The annotations of the chosen classes by image id, with the fields that are needed later."""
    kept: dict[int, list[Annotation]] = {}
    for number, annotation in enumerate(annotations):
        try:
            image_id = annotation["image_id"]
            if image_id not in image_ids:
                refuse(f"annotation {annotation['id']!r} names image {image_id!r}, but the file lists no such id", path)
            elif annotation["category_id"] in classes:
                wanted = {key: annotation[key] for key in ("id", "category_id", "segmentation", "area")}
                if type(wanted["area"]) not in (int, float) or not 0 <= wanted["area"] < math.inf:
                    fault = f"annotation {wanted['id']!r} of image {image_id} has an area of {wanted['area']!r}"
                    raise DataError(fault, path)
                kept.setdefault(image_id, []).append(wanted | {"iscrowd": annotation.get("iscrowd", 0)})
        except (TypeError, KeyError) as error:
            raise DataError(f"annotations[{number}] is faulty ({type(error).__name__}: {error})", path) from error
    return kept
