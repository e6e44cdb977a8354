"""Your own data: a tree in the VOC layout, or plain folders images/ and masks/."""

import hashlib
import re
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.datasets.images import DataError, Sample, load, read_image, read_mask
from deeplab_lightning.datasets.segmentation import (
    IMAGE_SUFFIXES,
    SegmentationDataset,
    find_files,
    list_images,
    read_ids,
)
from deeplab_lightning.datasets.transforms import EvaluationTransform, Transform

VOID = "void"
COLOR = re.compile(r"(.*\S)\s+(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})")

ColorMap = dict[tuple[int, int, int], int]
"""Class index, or 255, by RGB colour."""


def read_class_names(root: Path) -> list[str]:
    """The names in class_names.txt, line k naming class k.

    Raises:
        DataError: there is no such file, it holds fewer than two names, or a name twice.
    """
    return _read_classes(root)[0]


def read_color_map(root: Path) -> ColorMap | None:
    """The colours in class_names.txt, three numbers behind each name; None where it holds names only.

    A line "void R G B" gives the colour of void.

    Raises:
        DataError: as `read_class_names`; or some names have a colour and others none, or two have the same.
    """
    return _read_classes(root)[1]


def _read_classes(root: Path) -> tuple[list[str], ColorMap | None]:
    path = root / "class_names.txt"
    if not path.is_file():
        raise DataError(f"{path}: no such file; it names one class a line, in the order of the mask values")
    lines = [line.strip() for line in path.read_text("utf-8-sig").rstrip().split("\n")]
    matches = [COLOR.fullmatch(line) for line in lines]
    colored = all(matches) and len(lines) > 1
    if any(matches) and not colored:
        raise DataError(f"{path}: some of its names are followed by a colour (R G B), others are not")
    names = [match[1] if match else line for match, line in zip(matches, lines, strict=True)]
    color_map: ColorMap = {}
    if colored:
        colors = [tuple(int(part) for part in match.groups()[1:]) for match in matches if match]
        classes = [name for name in names if name != VOID]
        for name, (red, green, blue) in zip(names, colors, strict=True):
            if (red, green, blue) in color_map or max(red, green, blue) > 255:
                raise DataError(f"{path}: the colour {red} {green} {blue} of {name!r} is there twice or beyond 255")
            color_map[red, green, blue] = IGNORE_INDEX if name == VOID else classes.index(name)
        names = classes if names.count(VOID) <= 1 else names
    if len(names) < 2 or "" in names or len(set(names)) < len(names):
        raise DataError(f"{path}: it must hold at least two names, each once, and no empty line")
    return names, color_map or None


class FolderDataset(SegmentationDataset):
    """A split of a tree in the VOC layout, or of plain folders images/ and masks/.

    The VOC layout has JPEGImages, SegmentationClass and ImageSets/Segmentation/<split>.txt. Plain folders have the list
    in splits/<split>.txt, or no lists and a ratio.

    Args:
        root: of the tree.
        split: name of the id list; with a ratio "train", "val" or "test".
        num_classes: masks may hold 0 to num_classes - 1, and 255.
        transform: applied to every sample.
        seed: of what the transform draws.
        color_map: masks are colour-coded, and this gives the class of each colour; None for masks of class indices.
        split_ratio: shares of train, val and test in plain folders without lists; by a hash of the ids, so that they do
            not depend on the order of files or on the seed.

    Raises:
        DataError: the list is missing, empty or faulty, or names an image or a mask that is not there.
        ValueError: the ratio cannot be used.
    """

    def __init__(
        self,
        root: Path,
        split: str,
        num_classes: int,
        transform: Transform,
        seed: int = 0,
        color_map: ColorMap | None = None,
        split_ratio: tuple[float, float, float] | None = None,
    ) -> None:
        plain = (root / "images").is_dir()
        if plain and (root / "JPEGImages").is_dir():
            raise DataError(f"{root}: it holds both images/ and JPEGImages/; which of them counts is not guessed at")
        image_folder, mask_folder = (
            root / name for name in (("images", "masks") if plain else ("JPEGImages", "SegmentationClass"))
        )
        list_path = root / ("splits" if plain else "ImageSets/Segmentation") / f"{split}.txt"
        if split_ratio is None:
            image_ids = read_ids(list_path, f"the ids of split {split!r}")
        elif list_path.parent.is_dir():
            raise ValueError(f"split_ratio {split_ratio} would have no effect: {list_path.parent} holds the splits")
        else:
            list_path = image_folder
            image_ids = _share(sorted(list_images(image_folder)), split, split_ratio, root)
        images, masks = (find_files(image_ids, folder, list_path) for folder in (image_folder, mask_folder))
        super().__init__(image_ids, images, masks, num_classes, transform, seed)
        self.color_map = color_map

    def mask(self, index: int) -> Image.Image:
        """The mask of an image, from class indices or colours."""
        path = self.mask_files[index]
        if self.color_map is None:
            return read_mask(path, self.num_classes)
        return read_color_mask(path, self.color_map)

    def settings(self) -> str:
        """What else than the files decides on the masks, as one line."""
        return f"{super().settings()}, colours {self.color_map}"


def _share(image_ids: list[str], split: str, ratio: tuple[float, float, float], root: Path) -> list[str]:
    splits = ("train", "val", "test")
    if split not in splits or min(ratio) < 0 or abs(sum(ratio) - 1) > 1e-6:
        raise ValueError(
            f"split_ratio must be the shares of train, val and test and add up to 1, got {ratio} for split {split!r}"
        )
    order = sorted(image_ids, key=lambda image_id: hashlib.sha256(image_id.encode()).digest())
    position = splits.index(split)
    first, last = (round(sum(ratio[:end]) * len(order)) for end in (position, position + 1))
    if first == last:
        raise DataError(f"{root}: split_ratio {ratio} leaves split {split!r} none of its {len(order)} images")
    return sorted(order[first:last])


def read_color_mask(path: Path, color_map: ColorMap) -> Image.Image:
    """The class indices of a colour-coded mask (RGB or palette PNG).

    Raises:
        DataError: it is unreadable, of another mode, or has a colour that is not in the map.
    """
    mask = load(path)
    if mask.mode not in ("RGB", "P"):
        raise DataError(f"{path}: the mask is in mode {mask.mode}, but class_names.txt gives colours: RGB is expected")
    pixels = np.asarray(mask.convert("RGB")).astype(np.uint32)
    codes = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    known = np.array([red << 16 | green << 8 | blue for red, green, blue in color_map], np.uint32)
    order = np.argsort(known)
    position = np.searchsorted(known, codes, sorter=order).clip(max=len(known) - 1)
    found = order[position]
    if (wrong := known[found] != codes).any():
        y, x = np.argwhere(wrong)[0]
        color = " ".join(map(str, pixels[y, x]))
        raise DataError(f"{path}: the colour {color} at x {x}, y {y} is not in class_names.txt")
    return Image.fromarray(np.array(list(color_map.values()), np.uint8)[found])


class ImageFiles(Dataset[Sample]):
    """Images without masks, for prediction; their masks are void throughout.

    Args:
        folder: every .jpg, .jpeg and .png in it, by name.
        transform: normalises.
    """

    def __init__(self, folder: Path, transform: EvaluationTransform) -> None:
        self.files = sorted(list_images(folder).items())
        self.transform = transform
        if not self.files:
            raise DataError(f"{folder}: it holds no {', '.join(IMAGE_SUFFIXES)} files")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        image_id, path = self.files[index]
        image = read_image(path)
        void = Image.new("L", image.size, IGNORE_INDEX)
        pixels, mask = self.transform(image, void, np.random.default_rng(0))
        return {"image": pixels, "mask": mask, "image_id": image_id}
