"""Label maps as the evaluation server of PASCAL VOC takes them: one palette PNG for each image, in a tarball."""

import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from deeplab_lightning.atomic import replacing
from deeplab_lightning.datasets.images import DataError, load, size_of
from deeplab_lightning.datasets.palette import PALETTE

Competition = Literal["comp5", "comp6"]
"""VOC's competitions in segmentation: comp5 with VOC's data alone, comp6 with any other data."""

FOLDER = "results/VOC2012/Segmentation/{}_test_cls"
TARBALL = "{}_test_cls.tar"
PALETTE_OF_8_BITS = bytes([8, 3])  # depth and type of the colours in a PNG's header


def write_submission(
    images: Mapping[str, Path], predictions: Path, num_classes: int, competition: Competition, folder: Path
) -> Path:
    """Check the label maps `<id>.png` of all images and pack them into `<competition>_test_cls.tar`.

    Args:
        images: Files of the images by their ids.
        predictions: Folder of the label maps.
        num_classes: Number of classes K, background included.
        competition: "comp6" with data that are not VOC's (masks of SBD, COCO, ImageNet's weights), else "comp5".
        folder: Folder that the tarball goes to.

    Raises:
        DataError: A label map is missing, is of no image, or is not what the server takes.
    """
    label_maps = {path.stem: path for path in predictions.iterdir()}
    if missing := sorted(images.keys() - label_maps.keys()):
        raise DataError(f"no such label map, as of {len(missing)} of the images", predictions / f"{missing[0]}.png")
    if others := sorted(label_maps.keys() - images.keys()):
        raise DataError("it is of no image of the split", label_maps[others[0]])
    for image_id, image in images.items():
        _check(label_maps[image_id], image, num_classes)
    path = folder / TARBALL.format(competition)
    with replacing(path) as draft, tarfile.open(draft, "w") as tarball:
        for image_id in images:
            tarball.add(label_maps[image_id], f"{FOLDER.format(competition)}/{image_id}.png")
    return path


def _check(path: Path, image: Path, num_classes: int) -> None:
    """Refuse a label map that is no palette PNG of 8 bits in VOC's colours, or has another size or other values."""
    if path.suffix != ".png" or path.read_bytes()[24:26] != PALETTE_OF_8_BITS:
        raise DataError("the server takes PNGs with a palette and 8 bits alone", path)
    label_map, size = load(path), size_of(image)
    if label_map.getpalette() != PALETTE.ravel().tolist():
        raise DataError("its palette is not VOC's", path)
    if label_map.size != size:
        raise DataError(f"it has {label_map.size} pixels and {image} {size}; sizes must be the images' own", path)
    if (highest := int(np.asarray(label_map).max())) >= num_classes:
        raise DataError(f"its highest value is {highest}, and there are {num_classes} classes", path)
