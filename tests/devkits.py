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
