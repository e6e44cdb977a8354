"""The tarball for the evaluation server of PASCAL VOC: one palette PNG for each image."""

import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from deeplab_lightning.atomic import replacing
from deeplab_lightning.datasets.images import DataError, load, size_of
from deeplab_lightning.palette import VOC_COLORS

Competition = Literal["comp5", "comp6"]
"""VOC's segmentation competitions: comp5 allows VOC's data only, comp6 allows any other data too."""

FOLDER = "results/VOC2012/Segmentation/{}_test_cls"
TARBALL = "{}_test_cls.tar"
PALETTE_OF_8_BITS = bytes([8, 3])  # bit depth and colour type in a PNG's header


def write_submission(
    images: Mapping[str, Path], predictions: Path, num_classes: int, competition: Competition, folder: Path
) -> Path:
    """Check the label maps `<id>.png` of all images and pack them into `<competition>_test_cls.tar`.

    Args:
        images: Files of the images by their ids.
        predictions: Folder of the label maps.
        num_classes: Number of classes K, background included.
        competition: "comp6" if data other than VOC's were used (SBD's masks, COCO, ImageNet weights), else "comp5".
        folder: Folder that the tarball is written to.

    Raises:
        DataError: A label map is missing, belongs to no image, or has a form that the server does not accept.
    """
    label_maps = {path.stem: path for path in predictions.iterdir()}
    if missing := sorted(images.keys() - label_maps.keys()):
        raise DataError(f"no such label map; {len(missing)} images have none", predictions / f"{missing[0]}.png")
    if others := sorted(label_maps.keys() - images.keys()):
        raise DataError("it belongs to no image of the split", label_maps[others[0]])
    for image_id, image in images.items():
        _check(label_maps[image_id], image, num_classes)
    path = folder / TARBALL.format(competition)
    with replacing(path) as draft, tarfile.open(draft, "w") as tarball:
        for image_id in images:
            tarball.add(label_maps[image_id], f"{FOLDER.format(competition)}/{image_id}.png")
    return path


def _check(path: Path, image: Path, num_classes: int) -> None:
    """Refuse a label map that is not an 8-bit palette PNG in VOC's colours, or has a wrong size or wrong values."""
    if path.suffix != ".png" or path.read_bytes()[24:26] != PALETTE_OF_8_BITS:
        raise DataError("the server accepts only 8-bit PNGs with a palette", path)
    label_map, size = load(path), size_of(image)
    if label_map.getpalette() != VOC_COLORS.ravel().tolist():
        raise DataError("its palette is not VOC's", path)
    if label_map.size != size:
        raise DataError(f"its size is {label_map.size}, but that of {image} is {size}; they must be equal", path)
    if (highest := int(np.asarray(label_map).max())) >= num_classes:
        raise DataError(f"its highest value is {highest}, but there are only {num_classes} classes", path)
