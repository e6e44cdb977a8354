"""The base class of the data sets, with readers of id lists and folders."""

import codecs
import copy
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.random import Generator
from PIL import Image
from torch.utils.data import Dataset

from deeplab_lightning.datasets.faults import NoSuchSplitError, refuse
from deeplab_lightning.datasets.images import DataError, Sample
from deeplab_lightning.datasets.pixels import RGB, PixelFormat, Pixels, read_pixels_of_mask
from deeplab_lightning.datasets.transforms import Transform

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")


class SegmentationDataset(Dataset[Sample]):
    """Images with masks; a subclass implements `mask`.

    A key is an index, or (index, epoch). The transform's random choices depend on (seed, epoch, index) alone, so they
    are the same for any number of loader workers.

    Args:
        image_ids: Ids of the images.
        images: Files of the images.
        mask_files: Files of the masks, one for each image.
        num_classes: Number of classes; masks may hold 0 to num_classes - 1, and 255.
        transform: Transform of every sample.
        seed: Seed of the transform's random choices.
    """

    has_masks = True
    pixel_format: PixelFormat = RGB

    def __init__(
        self,
        image_ids: Sequence[str],
        images: Sequence[Path],
        mask_files: Sequence[Path],
        num_classes: int,
        transform: Transform,
        seed: int = 0,
    ) -> None:
        self.image_ids, self.images, self.mask_files = list(image_ids), list(images), list(mask_files)
        self.num_classes, self.transform, self.seed = num_classes, transform, seed

    def mask(self, index: int) -> Image.Image:
        """The mask of an image: 8-bit grey with class indices, and 255 for void.

        Raises:
            DataError: The mask cannot be read, or holds a value that is not a class.
        """
        raise NotImplementedError

    def pair(self, index: int) -> tuple[Pixels, Image.Image]:
        """The pixels (H, W, C) of an image and its mask before the transform; both have the same size.

        Raises:
            DataError: Either is faulty, or their sizes differ.
        """
        mask = self.mask(index)
        return read_pixels_of_mask(self.images[index], self.pixel_format, mask, self.mask_files[index]), mask

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        index, epoch = key if isinstance(key, tuple) else (key, 0)
        return self.sample(index, np.random.default_rng((self.seed, epoch, index)))

    def sample(self, index: int, rng: Generator) -> Sample:
        """The sample of an image; the transform draws its random choices from `rng`."""
        image, mask = self.pair(index)
        try:
            pixels, target = self.transform(image, mask, rng)
        except DataError as error:
            raise DataError(str(error), self.images[index]) from error
        return {"image": pixels, "mask": target, "image_id": self.image_ids[index]}

    def settings(self) -> str:
        """The settings that the masks depend on besides the files, as one line."""
        return f"{type(self).__name__} of {self.num_classes} classes"

    def fingerprint(self) -> str:
        """A hash that changes with the ids, the settings, and the size or date of any mask file."""
        digest = hashlib.sha256(self.settings().encode())
        known: dict[Path, str] = {}
        for image_id, path in zip(self.image_ids, self.mask_files, strict=True):
            if path not in known:
                status = path.stat()
                known[path] = f"{path} {status.st_size} {status.st_mtime_ns}"
            digest.update(f"\n{image_id} {known[path]}".encode())
        return digest.hexdigest()

    def with_transform(self, transform: Transform) -> Self:
        """The same data with another transform."""
        other = copy.copy(self)
        other.transform = transform
        return other

    def subset(self, indices: Sequence[int]) -> Self:
        """The data set of some of the images, in the given order."""
        other = copy.copy(self)
        for name in self._per_image():
            values = getattr(self, name)
            setattr(other, name, [values[index] for index in indices])
        return other

    def _per_image(self) -> tuple[str, ...]:
        """Names of the lists that hold one entry for each image."""
        return "image_ids", "images", "mask_files"


def read_ids(path: Path, what: str) -> list[str]:
    """The ids in a list file with one id per line.

    Args:
        path: List file.
        what: Name of its contents for the error message.

    Raises:
        DataError: The file does not exist, is not UTF-8 text, is empty, or holds an id twice, a path, or more than one
            word in a line.
    """
    if not path.is_file():
        raise NoSuchSplitError(f"no such file; it lists {what}, one per line", path)
    lines = [line.strip() for line in read_text(path).splitlines()]
    image_ids: dict[str, None] = {}
    for number, image_id in enumerate(lines, 1):
        if image_id in image_ids:
            refuse(f"the id {image_id!r} occurs twice", path, number)
        elif "/" in image_id or "\\" in image_id or len(image_id.split()) > 1:
            refuse(f"{image_id!r} is not an id; an id is a file's name without its suffix", path, number)
        elif image_id.lower().endswith(IMAGE_SUFFIXES):
            refuse(f"{image_id!r} has the suffix of a file; an id has none", path, number)
        elif image_id:
            image_ids[image_id] = None
    if not image_ids:
        raise DataError("it lists no ids", path)
    return list(image_ids)


def read_text(path: Path) -> str:
    """The text in a file, which is UTF-8, or UTF-16 with a byte order mark.

    Raises:
        DataError: The file cannot be read, or has another encoding.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", path) from error
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        found = "damaged UTF-16" if encoding == "utf-16" else "not UTF-8, perhaps Latin-1"
        fault = f"byte 0x{content[error.start]:02x} is {found}; save the file as UTF-8"
        raise DataError(fault, path, number) from error
    if "\0" in text:
        raise DataError("it holds zero bytes, like UTF-16 or UTF-32; save the file as UTF-8", path)
    return text


def list_images(folder: Path, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> dict[str, Path]:
    """The files of a folder that have one of the suffixes, by their names without it.

    Raises:
        DataError: The folder does not exist, or two files have the same name without its suffix.
    """
    if not folder.is_dir():
        raise DataError("no such folder", folder)
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes:
            if other := files.get(path.stem):
                refuse(f"it and {other.name} have the same id", path)
            files.setdefault(path.stem, path)
    return files


def find_files(
    image_ids: Sequence[str], folder: Path, list_path: Path, files: dict[str, Path] | None = None
) -> list[Path]:
    """The file of each id.

    Args:
        image_ids: Ids to find the files of.
        folder: Folder of the files.
        list_path: File that lists the ids; the error message names it.
        files: Existing files by id; the images of the folder when not given.

    Raises:
        DataError: A file is missing.
    """
    files = list_images(folder) if files is None else files
    for image_id in image_ids:
        if image_id not in files:
            refuse(f"no such file, but {list_path} lists its id", folder / image_id)
    return [files.get(image_id, folder / image_id) for image_id in image_ids]
