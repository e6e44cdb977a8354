"""COCO's file format for instances: images, and annotations that are drawn as label maps."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.datasets.coco_regions import Region, draw
from deeplab_lightning.datasets.faults import refuse
from deeplab_lightning.datasets.images import MAX_PIXELS, DataError

Overlap = Literal["last", "first", "void"]
Annotation = dict[str, Any]
ClassOf = Callable[[Mapping[str, Any], Any], int | None]
"""A function from the content of a file and a category id to the class, 255 for void, or None to leave it out."""


@dataclass(frozen=True)
class Instances:
    """The images of a file and their annotations, in the order of the images' ids.

    Args:
        path: Path of the file.
        image_ids: Names of the images' files without suffixes.
        sizes: Width and height of each image.
        annotations: Annotations of the chosen categories of each image, as JSON. One byte string per image, not Python
            objects: it is small, and a forked loader worker shares its memory. (Reading an object writes its reference
            count, and so copies the page it lies in.)
        classes: Class index, or 255 for void, of each category id.
    """

    path: Path
    image_ids: list[str]
    sizes: list[tuple[int, int]]
    annotations: list[bytes]
    classes: dict[int, int]

    def draw(self, index: int, overlap: Overlap, uncovered: int = 0) -> Image.Image:
        """The label map of an image. Crowd regions are void.

        Args:
            index: Index of the image.
            overlap: Class of a pixel in several instances (see `paint`).
            uncovered: Class of the pixels in no instance.

        Raises:
            DataError: An annotation has an invalid region.
        """
        width, height = self.sizes[index]
        return paint(self._regions(index), (height, width), overlap, uncovered)

    def _regions(self, index: int) -> Iterable[tuple[Region, int]]:
        width, height = self.sizes[index]
        for annotation in json.loads(self.annotations[index]):
            try:
                region = draw(annotation["segmentation"], height, width)
            except DataError as error:
                fault = f"annotation {annotation['id']!r} of image {self.image_ids[index]} {error}"
                raise DataError(fault, self.path) from error
            yield region, IGNORE_INDEX if annotation["iscrowd"] else self.classes[annotation["category_id"]]


def paint(
    regions: Iterable[tuple[Region, int]], size: tuple[int, int], overlap: Overlap, uncovered: int
) -> Image.Image:
    """The label map of regions (H, W), each with its class; a region of void makes its pixels void in any case.

    Args:
        regions: Regions and their classes, in the order of their file.
        size: Size (H, W) of the label map.
        overlap: Class of a pixel in several regions: that of the "last" or the "first" one, or "void".
        uncovered: Class of the pixels in no region.
    """
    labels = np.full(size, uncovered, np.uint8)
    covered, twice, void = (np.zeros(size, bool) for _ in range(3))
    for region, label in regions:
        if label == IGNORE_INDEX:
            void |= region
            continue
        labels[region if overlap == "last" else region & ~covered] = label
        twice |= covered & region
        covered |= region
    if overlap == "void":
        labels[twice] = IGNORE_INDEX
    labels[void] = IGNORE_INDEX
    return Image.fromarray(labels)


def read_instances(path: Path, class_of: ClassOf, needed: Sequence[str] = ()) -> Instances:
    """The images and annotations of a file.

    Args:
        path: Path of the file.
        class_of: Function that gives the class of a category.
        needed: Fields of an annotation that are kept besides those that drawing it needs.

    Raises:
        DataError: The file is missing or not JSON, lacks images or annotations, or its annotations name other images.
    """
    try:
        content = json.loads(path.read_bytes())
        records, annotations = content["images"], content["annotations"]
        for record in records:
            _check_record(record, path)
        image_ids = {record["id"] for record in records}
        classes = _Classes(content, class_of)
        kept = _by_image(annotations, image_ids, classes, needed=needed, path=path)
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
    records = sorted(records, key=lambda record: record["id"])
    return Instances(
        path,
        [Path(record["file_name"]).stem for record in records],
        [(record["width"], record["height"]) for record in records],
        annotations=[json.dumps(kept.get(record["id"], [])).encode() for record in records],
        classes={category: label for category, label in classes.items() if label is not None},
    )


class _Classes(dict[Any, int | None]):
    """The class of each category id, looked up once."""

    def __init__(self, content: Mapping[str, Any], class_of: ClassOf) -> None:
        super().__init__()
        self.content, self.class_of = content, class_of

    def __missing__(self, category: Any) -> int | None:
        self[category] = self.class_of(self.content, category)
        return self[category]


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
    annotations: list[Annotation],
    image_ids: set[int],
    classes: Mapping[Any, int | None],
    *,
    needed: Sequence[str],
    path: Path,
) -> dict[int, list[Annotation]]:
    """The annotations of the chosen classes by image id, with the fields that are needed later."""
    kept: dict[int, list[Annotation]] = {}
    for number, annotation in enumerate(annotations):
        try:
            image_id = annotation["image_id"]
            if image_id not in image_ids:
                refuse(f"annotation {annotation['id']!r} names image {image_id!r}, but the file lists no such id", path)
            elif classes[annotation["category_id"]] is not None:
                wanted = {key: annotation[key] for key in ("id", "category_id", "segmentation", *needed)}
                if "area" in wanted and (
                    type(wanted["area"]) not in (int, float) or not 0 <= wanted["area"] < math.inf
                ):
                    fault = f"annotation {wanted['id']!r} of image {image_id} has an area of {wanted['area']!r}"
                    raise DataError(fault, path)
                kept.setdefault(image_id, []).append(wanted | {"iscrowd": annotation.get("iscrowd", 0)})
        except (TypeError, KeyError) as error:
            raise DataError(f"annotations[{number}] is faulty ({type(error).__name__}: {error})", path) from error
    return kept
