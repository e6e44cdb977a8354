"""COCO 2017: instance annotations drawn as semantic masks."""

import json
from pathlib import Path
from typing import Literal

from PIL import Image

from deeplab_lightning.datasets import voc
from deeplab_lightning.datasets.coco_instances import read_instances
from deeplab_lightning.datasets.coco_names import IDS_IN_USE, THINGS_AND_STUFF, VOC_CATEGORIES
from deeplab_lightning.datasets.segmentation import SegmentationDataset, find_files
from deeplab_lightning.datasets.transforms import Transform

Classes = Literal["voc21", "coco81", "coco91"]
Overlap = Literal["void", "first"]

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
        self.instances = read_instances(path, lambda _, category: self.classes.get(category), ["area"])
        image_ids = self.instances.image_ids
        images = find_files(image_ids, root / split, path)
        num_classes = len(class_names(classes))
        super().__init__(
            image_ids, images, [path] * len(images), num_classes=num_classes, transform=transform, seed=seed
        )
        self.numbers = list(range(len(images)))

    def mask(self, index: int) -> Image.Image:
        """The mask of an image, drawn from its annotations."""
        return self.instances.draw(self.numbers[index], self.overlap)

    def annotated_area(self, index: int) -> float:
        """The sum of the areas of the annotations of the chosen classes, in pixels."""
        return float(
            sum(annotation["area"] for annotation in json.loads(self.instances.annotations[self.numbers[index]]))
        )

    def settings(self) -> str:
        """The settings that the masks depend on besides the files, as one line."""
        return f"{super().settings()}, categories {self.classes}, overlap {self.overlap}"

    def _per_image(self) -> tuple[str, ...]:
        return *super()._per_image(), "numbers"
