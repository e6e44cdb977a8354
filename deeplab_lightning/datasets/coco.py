"""COCO 2017: instance annotations drawn as semantic masks."""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.datasets import voc
from deeplab_lightning.datasets.coco_names import IDS_IN_USE, THINGS_AND_STUFF, VOC_CATEGORIES
from deeplab_lightning.datasets.faults import refuse
from deeplab_lightning.datasets.images import DataError
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
    """Class index by category id; categories that are not in it are background."""
    categories = {"voc21": VOC_CATEGORIES, "coco81": IDS_IN_USE, "coco91": range(1, 91)}[classes]
    return {category: index for index, category in enumerate(categories, 1)}


class COCODataset(SegmentationDataset):
    """A split of COCO 2017. Crowd regions of the chosen classes are void.

    Args:
        root: with <split>/ and annotations/instances_<split>.json.
        split: train2017 or val2017.
        transform: applied to every sample.
        classes: "voc21", VOC's 20 classes and background; "coco81", COCO's 80 categories and background; "coco91", the
            category id as class index, 0 for background, of which ten are never annotated.
        overlap: pixels of several instances are "void" (torchvision), or of the one annotated "first".
        seed: of what the transform draws.

    Raises:
        DataError: the annotations are missing or faulty, or list an image that is not there.
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
        super().__init__(image_ids, images, [path] * len(images), len(class_names(classes)), transform, seed)
        self.sizes = [(int(record["width"]), int(record["height"])) for record in records]
        # As text: small, and not copied into every loader worker by reference counts.
        self.annotations = [json.dumps(annotations.get(record["id"], [])).encode() for record in records]

    def mask(self, index: int) -> Image.Image:
        """The mask of an image, drawn from its annotations."""
        width, height = self.sizes[index]
        labels, times = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
        crowd = np.zeros((height, width), bool)
        for annotation in json.loads(self.annotations[index]):
            region = self._region(annotation, height, width, index)
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

    def _region(self, annotation: Annotation, height: int, width: int, index: int) -> NDArray[np.bool_]:
        """The pixels of one annotation (H, W), from polygons or a run-length code."""
        from pycocotools import mask as coco_mask

        fault = f"{self.mask_files[index]}: annotation {annotation.get('id')} of image {self.image_ids[index]}"
        shape = annotation["segmentation"]
        if isinstance(shape, list):
            for polygon in shape:
                if len(polygon) < 6 or len(polygon) % 2:
                    raise DataError(f"{fault} has a polygon of {len(polygon)} numbers; at least three points are due")
            if not shape:
                raise DataError(f"{fault} has no polygon")
            code = coco_mask.merge(coco_mask.frPyObjects(shape, height, width))
        else:
            if list(shape.get("size", ())) != [height, width]:
                raise DataError(f"{fault} is {shape.get('size')} in size, but the image is {[height, width]}")
            code = coco_mask.frPyObjects(shape, height, width) if isinstance(shape["counts"], list) else shape
        region: NDArray[np.bool_] = coco_mask.decode(code).astype(bool)
        return region

    def annotated_area(self, index: int) -> float:
        """The sum of the areas of the annotations of the chosen classes, in pixels."""
        return float(sum(annotation["area"] for annotation in json.loads(self.annotations[index])))

    def settings(self) -> str:
        """What else than the files decides on the masks, as one line."""
        return f"{super().settings()}, categories {self.classes}, overlap {self.overlap}"

    def _per_image(self) -> tuple[str, ...]:
        return *super()._per_image(), "sizes", "annotations"


def _read_annotations(path: Path, classes: dict[int, int]) -> tuple[list[dict[str, Any]], dict[int, list[Annotation]]]:
    """The image records by id, and by image id the annotations of the chosen classes.

    Raises:
        DataError: the file is missing, no JSON, without images or annotations, or they do not fit each other.
    """
    try:
        content = json.loads(path.read_bytes())
        records = sorted(content["images"], key=lambda record: record["id"])
        keys = {record["id"]: (record["file_name"], record["width"], record["height"]) for record in records}
        kept: dict[int, list[Annotation]] = {}
        for annotation in content["annotations"]:
            if annotation["image_id"] not in keys:
                refuse(path, f"{path}: annotation {annotation['id']} is of image {annotation['image_id']}: no such id")
            elif annotation["category_id"] in classes:
                wanted = {key: annotation[key] for key in ("id", "category_id", "segmentation", "area")}
                kept.setdefault(annotation["image_id"], []).append(wanted | {"iscrowd": annotation.get("iscrowd", 0)})
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (ValueError, TypeError, KeyError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: it is not a file of COCO instances ({type(error).__name__}: {error})") from error
    if not records:
        raise DataError(f"{path}: it lists no images")
    if len({name for name, _, _ in keys.values()}) < len(records):
        raise DataError(f"{path}: it lists an image id or a file name twice")
    return records, kept
