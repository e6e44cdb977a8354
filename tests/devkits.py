"""Small data sets in the real layouts, written by the tests that read them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from deeplab_lightning.datasets.shapes import render
from deeplab_lightning.palette import VOC_COLORS

VOC_TRAIN = [f"2007_{number:06d}" for number in range(8)]
VOC_VAL = [f"2008_{number:06d}" for number in range(5)]
VOC_TEST = [f"2009_{number:06d}" for number in range(3)]
SBD_ONLY = [f"2010_{number:06d}" for number in range(10)]
SBD_TRAIN = [*SBD_ONLY[:6], *VOC_TRAIN[:3], *VOC_VAL[:2]]
SBD_VAL = [*SBD_ONLY[6:], VOC_TRAIN[4], VOC_VAL[3]]
VOC_CLASS_OF_SHAPE = np.array([0, 15, 7, 1, 9, 18, 11, 2], np.uint8)  # stars are chairs, rings sofas, ...
SIZE = (48, 64)


def scene(number: int, size: tuple[int, int] = SIZE) -> tuple[Image.Image, NDArray[np.uint8]]:
    """An image and its labels with VOC's classes and void borders."""
    image, mask = render(np.random.default_rng((7, number)), *size)
    labels = np.asarray(mask)
    return image, np.where(labels == 255, 255, VOC_CLASS_OF_SHAPE[np.where(labels == 255, 0, labels)]).astype(np.uint8)


def save_palette(labels: NDArray[np.uint8], path: Path) -> None:
    mask = Image.fromarray(labels).convert("P")
    mask.putpalette(VOC_COLORS.ravel().tolist())
    mask.save(path)


def write_list(path: Path, image_ids: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{image_id}\n" for image_id in image_ids))


def write_voc(root: Path) -> Path:
    """VOC2012 with 8 train, 5 val and 3 test images, and the images of SBD."""
    for folder in ("JPEGImages", "SegmentationClass"):
        (root / folder).mkdir(parents=True)
    for number, image_id in enumerate([*VOC_TRAIN, *VOC_VAL, *VOC_TEST, *SBD_ONLY]):
        image, labels = scene(number)
        image.save(root / "JPEGImages" / f"{image_id}.jpg", quality=92)
        if image_id in VOC_TRAIN + VOC_VAL:
            save_palette(labels, root / "SegmentationClass" / f"{image_id}.png")
    lists = {"train": VOC_TRAIN, "val": VOC_VAL, "trainval": VOC_TRAIN + VOC_VAL, "test": VOC_TEST}
    for split, image_ids in lists.items():
        write_list(root / "ImageSets" / "Segmentation" / f"{split}.txt", image_ids)
    return root


def write_sbd(root: Path) -> Path:
    """SBD's folder dataset: labels without void; those of VOC's images are all of class 20, to tell them apart."""
    (root / "cls").mkdir(parents=True)
    write_list(root / "train.txt", SBD_TRAIN)
    write_list(root / "val.txt", SBD_VAL)
    for image_id in SBD_TRAIN + SBD_VAL:
        if image_id in SBD_ONLY:
            labels = scene(len(VOC_TRAIN + VOC_VAL + VOC_TEST) + SBD_ONLY.index(image_id))[1]
            labels[labels == 255] = 0
        else:
            labels = np.full(SIZE, 20, np.uint8)
        save_sbd_mask(labels, root / "cls" / f"{image_id}.mat")
    return root


def save_sbd_mask(labels: NDArray[np.uint8], path: Path) -> None:
    savemat(path, {"GTcls": {"Segmentation": labels, "CategoriesPresent": np.unique(labels)}}, do_compression=True)


def square(x: float, y: float, side: float) -> list[float]:
    return [x, y, x + side, y, x + side, y + side, x, y + side]


def annotation(number: int, image: int, category: int, segmentation: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": number, "image_id": image, "category_id": category, "segmentation": segmentation, "area": 100.0,
        "iscrowd": 0,
    } | more  # fmt: skip


def write_coco(root: Path, annotations: dict[str, list[dict[str, Any]]], num_images: int = 4) -> Path:
    """COCO 2017 with images 1, 2, ... of 80x60 pixels in each split."""
    for split in ("train2017", "val2017"):
        (root / split).mkdir(parents=True)
        (root / "annotations").mkdir(exist_ok=True)
        records = [
            {"id": number, "file_name": f"{number:012d}.jpg", "height": 60, "width": 80}
            for number in range(1, num_images + 1)
        ]
        for record in records:
            image, _ = scene(50 + int(str(record["id"])), (60, 80))
            image.save(root / split / str(record["file_name"]))
        content = {"images": records, "annotations": annotations.get(split, []), "categories": []}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return root


def write_coco_stuff(root: Path) -> Path:
    """COCO-Stuff 10k with 3 train and 2 test images; labels are 0 (unlabelled), 1, 2 or 182."""
    for folder in ("images", "annotations"):
        (root / folder).mkdir(parents=True)
    for split, image_ids in {"train": ["a1", "a2", "a3"], "test": ["b1", "b2"]}.items():
        write_list(root / "imageLists" / f"{split}.txt", image_ids)
        for image_id in image_ids:
            scene(80 + int(image_id[1]))[0].save(root / "images" / f"{image_id}.jpg")
            labels = np.array([0, 1, 2, 182], np.uint16)[np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) % 4]
            savemat(root / "annotations" / f"{image_id}.mat", {"S": labels})
    return root


CITIES = {"train": ("aachen", 8), "val": ("lindau", 4), "test": ("berlin", 3), "train_extra": ("troisdorf", 2)}
"""City and number of the images of each folder of `write_cityscapes`."""
LABEL_IDS = np.array([7, 24, 0, 3, 33, 6, 26, 11], np.uint8)
"""Label ids of stripes in `write_cityscapes`: road, person, unlabeled, out of roi, bicycle, ground, car, building."""


def write_cityscapes(root: Path, size: tuple[int, int] = SIZE) -> Path:
    """Cityscapes with fine labels of train and val, coarse ones of train and train_extra, and borders only for test.

    The stripes of LABEL_IDS are 8 pixels wide, and begin one class later in each image.
    """
    for split, (city, count) in CITIES.items():
        for number in range(count):
            name = f"{city}_{number:06d}_000019"
            stripes = LABEL_IDS[(np.arange(size[1]) // 8 + number) % 8]
            labels = np.broadcast_to(stripes, size).copy()
            save_png(scene(90 + number, size)[0], root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png")
            borders = np.full(size, 1, np.uint8)
            for kind in {"train": ("gtFine", "gtCoarse"), "train_extra": ("gtCoarse",)}.get(split, ("gtFine",)):
                mask = Image.fromarray(borders if split == "test" else labels)
                save_png(mask, root / kind / split / city / f"{name}_{kind}_labelIds.png")
    return root


def save_png(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def write_ade20k(root: Path) -> Path:
    """ADEChallengeData2016 with 4 training and 2 validation images, 2 test images beside it; labels 0, 1, 2, 150."""
    labels = np.array([0, 1, 2, 150], np.uint8)[np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) % 4]
    for split, name, count in (("training", "train", 4), ("validation", "val", 2)):
        for number in range(1, count + 1):
            stem = f"ADE_{name}_{number:08d}"
            save_png(scene(110 + number)[0], root / "images" / split / f"{stem}.jpg")
            save_png(Image.fromarray(labels), root / "annotations" / split / f"{stem}.png")
    for number in (1, 2):
        save_png(scene(115 + number)[0], root.parent / "release_test" / "testing" / f"ADE_test_{number:08d}.jpg")
    return root


def write_pascal_context(root: Path) -> Path:
    """VOC2010 with 4 train and 2 val images and, beside it, labels: 2 (aeroplane), 98 (cow), 458 (wood), 431 (unknown).

    Returns:
        The folder of the labels.
    """
    lists = {
        "train": ["2008_000002", "2008_000003", "2008_000004", "2008_000005"],
        "val": ["2008_000008", "2010_000001"],
    }
    label_root = root.parent / "trainval"
    label_root.mkdir(parents=True, exist_ok=True)
    labels = np.array([2, 98, 458, 431], np.uint16)[np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) % 4]
    for split, image_ids in lists.items():
        write_list(root / "ImageSets" / "Main" / f"{split}.txt", image_ids)
        for number, image_id in enumerate(image_ids):
            save_png(scene(120 + number)[0], root / "JPEGImages" / f"{image_id}.jpg")
            savemat(label_root / f"{image_id}.mat", {"LabelMap": labels}, do_compression=True)
    return label_root


def write_person_part(root: Path, voc: Path) -> Path:
    """pascal_person_part with 3 train and 2 val masks of images of a VOC; labels 0 to 6."""
    for split, image_ids in {"train": VOC_TRAIN[:3], "val": VOC_VAL[:2]}.items():
        write_list(root / "pascal_person_part_trainval_list" / f"{split}_id.txt", image_ids)
        for image_id in image_ids:
            with Image.open(voc / "JPEGImages" / f"{image_id}.jpg") as image:
                width, height = image.size
            (root / "pascal_person_part_gt").mkdir(exist_ok=True)
            labels = (np.arange(height * width).reshape(height, width) % 7).astype(np.uint8)
            save_palette(labels, root / "pascal_person_part_gt" / f"{image_id}.png")
    return root
