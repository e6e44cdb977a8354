"""Packages of label maps for the evaluation servers: VOC's tarball of palette PNGs, and zip files of label ids."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeplab_lightning.atomic import replacing
from deeplab_lightning.datasets.images import DataError, load, size_of
from deeplab_lightning.palette import Palette

Competition = Literal["comp5", "comp6"]
"""VOC's segmentation competitions: comp5 allows VOC's data only, comp6 allows any other data too."""

PACKAGES = ("*_test_cls.tar", "*_test_results.zip")
"""Patterns of the names of all packages."""
PALETTE_OF_8_BITS = bytes([8, 3])  # bit depth and colour type in a PNG's header


@dataclass(frozen=True)
class Server:
    """The form in which an evaluation server accepts label maps.

    Args:
        name: Name of the server.
        package: Name of the package, a tarball of palette PNGs or a zip file of grey PNGs.
        folder: Folder of the label maps in a tarball.
        values: Value of each class in a grey PNG; None for a palette PNG of class indices.
    """

    name: str
    package: str
    folder: str = ""
    values: tuple[int, ...] | None = None


def voc_server(competition: Competition) -> Server:
    """VOC's server: "comp6" if data other than VOC's were used (SBD's masks, COCO, ImageNet weights), else "comp5"."""
    return Server("VOC", f"{competition}_test_cls.tar", f"results/VOC2012/Segmentation/{competition}_test_cls")


def write_submission(
    images: Mapping[str, Path], predictions: Path, server: Server, *, palette: Palette, folder: Path
) -> Path:
    """Check the label maps `<id>.png` of all images and pack them for a server.

    Args:
        images: Files of the images by their ids.
        predictions: Folder of the label maps, palette PNGs of class indices.
        server: Form of the package.
        palette: Names and colours of the classes.
        folder: Folder that the package is written to.

    Raises:
        DataError: A label map is missing, belongs to no image, or has a form that the server does not accept.
    """
    label_maps = {path.stem: path for path in predictions.iterdir()}
    if missing := sorted(images.keys() - label_maps.keys()):
        raise DataError(f"no such label map; {len(missing)} images have none", predictions / f"{missing[0]}.png")
    if others := sorted(label_maps.keys() - images.keys()):
        raise DataError("it belongs to no image of the split", label_maps[others[0]])
    for image_id, image in images.items():
        _check(label_maps[image_id], image, palette)
    path = folder / server.package
    with replacing(path) as draft:
        if server.values is None:
            with tarfile.open(draft, "w") as tarball:
                for image_id in images:
                    tarball.add(label_maps[image_id], f"{server.folder}/{image_id}.png")
        else:
            values = np.array(server.values, np.uint8)
            with zipfile.ZipFile(draft, "w") as archive:
                for image_id in images:
                    archive.writestr(f"{image_id}.png", _grey_png(values[np.asarray(load(label_maps[image_id]))]))
    return path


def _check(path: Path, image: Path, palette: Palette) -> None:
    """Refuse a label map that is not an 8-bit palette PNG in the data's colours, or has a wrong size or value."""
    if path.suffix != ".png" or path.read_bytes()[24:26] != PALETTE_OF_8_BITS:
        raise DataError("the server accepts only 8-bit PNGs with a palette", path)
    label_map, size = load(path), size_of(image)
    if label_map.getpalette() != palette.table().ravel().tolist():
        raise DataError("its palette is not that of the data", path)
    if label_map.size != size:
        raise DataError(f"its size is {label_map.size}, but that of {image} is {size}; they must be equal", path)
    if (highest := int(np.asarray(label_map).max())) >= (count := len(palette.class_names)):
        raise DataError(f"its highest value is {highest}, but there are only {count} classes", path)


def _grey_png(labels: NDArray[np.uint8]) -> bytes:
    """The contents of an 8-bit grey PNG with the labels (H, W)."""
    content = io.BytesIO()
    Image.fromarray(labels).save(content, "PNG")
    return content.getvalue()
