"""Cityscapes: street scenes with fine or coarse labels, in the layout of its archives."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.datasets.faults import NoSuchSplitError
from deeplab_lightning.datasets.images import DataError, load, size_of
from deeplab_lightning.datasets.pixels import Pixels
from deeplab_lightning.datasets.segmentation import SegmentationDataset, find_files
from deeplab_lightning.datasets.transforms import Transform

CLASS_NAMES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
"""The 19 classes that are trained and scored (cityscapesScripts, helpers/labels.py)."""
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Label id of each class, as in the files *_labelIds.png; every other id is void."""
SIZE = (1024, 2048)
"""Size (H, W) of every image."""
SPLITS: dict[str, tuple[tuple[str, str], ...]] = {
    "train": (("train", "gtFine"),),
    "val": (("val", "gtFine"),),
    "trainval": (("train", "gtFine"), ("val", "gtFine")),
    "test": (("test", ""),),
    "train_coarse": (("train", "gtCoarse"),),
    "train_extra": (("train_extra", "gtCoarse"),),
    "trainval_extra": (("train", "gtFine"), ("val", "gtFine"), ("train_extra", "gtCoarse")),
}
"""Folders of the images and type of the labels of each split. The test split has none: its files mark borders only."""
WITHOUT_MASKS = "test"
NUM_IMAGES = {
    "train": 2975, "val": 500, "trainval": 3475, "test": 1525, "train_coarse": 2975, "train_extra": 19997,
    "trainval_extra": 23472,
}  # fmt: skip
"""Published number of images of each split; train_extra has one more, which is left out because it is black."""
BLACK = "troisdorf_000000_000073"
"""Image of train_extra without content."""


class CityscapesDataset(SegmentationDataset):
    """A split of Cityscapes: leftImg8bit/<folder>/<city>/*.png with gtFine/ or gtCoarse/ beside it.

    An id is <city>_<sequence>_<frame>. The masks are mapped from *_labelIds.png; files *_labelTrainIds.png, which the
    archives do not hold, are not needed. The split "test" has no masks: all its pixels are void.

    Args:
        root: Folder of leftImg8bit/, gtFine/ and gtCoarse/.
        split: Name of the split, a key of `SPLITS`.
        transform: Transform of every sample.
        size: Size (H, W) that every image has; None for any size.
        half: Samples are at half resolution: images by the mean of 2x2 pixels, masks by every second pixel.
        seed: Seed of the transform's random choices.

    Raises:
        DataError: A folder or a label file is missing.
    """

    def __init__(
        self,
        root: Path,
        split: str,
        transform: Transform,
        size: tuple[int, int] | None = SIZE,
        half: bool = False,
        seed: int = 0,
    ) -> None:
        self.size, self.half = size, half
        self.has_masks = split != WITHOUT_MASKS
        images: dict[str, Path] = {}
        masks: list[Path] = []
        for folder, labels in SPLITS[split]:
            own = _files(root, "leftImg8bit", folder, ".png")
            own.pop(BLACK, None)
            images |= own
            if labels:
                label_maps = _files(root, labels, folder, "_labelIds.png")
                masks += find_files(list(own), root / labels / folder, root / "leftImg8bit" / folder, label_maps)
        files = list(images.values())
        super().__init__(
            list(images), files, masks or files, num_classes=len(CLASS_NAMES), transform=transform, seed=seed
        )

    def mask(self, index: int) -> Image.Image:
        """The mask of an image, at full resolution.

        Raises:
            DataError: The label map cannot be read, has another size, or is not 8-bit grey.
        """
        path = self.mask_files[index]
        size = size_of(path)
        if self.size is not None and size != self.size[::-1]:
            fault = (
                f"it is {size[0]}x{size[1]}, but Cityscapes has {self.size[1]}x{self.size[0]}; data.image_size says so"
            )
            raise DataError(fault, path)
        if not self.has_masks:
            return Image.new("L", size, IGNORE_INDEX)
        label_map = load(path)
        if label_map.mode != "L":
            raise DataError(f"label ids are 8-bit grey (mode L), but this is in mode {label_map.mode}", path)
        return Image.fromarray(_TRAIN_IDS[np.asarray(label_map)])

    def pair(self, index: int) -> tuple[Pixels, Image.Image]:
        """An image and its mask before the transform, at the resolution of the samples."""
        image, mask = super().pair(index)
        if not self.half:
            return image, mask
        return np.asarray(Image.fromarray(image).reduce(2)), Image.fromarray(np.asarray(mask)[::2, ::2])

    def settings(self) -> str:
        """The settings that the masks depend on besides the files, as one line."""
        return f"{super().settings()} of size {self.size}"


def _files(root: Path, kind: str, folder: str, suffix: str) -> dict[str, Path]:
    """The files of a split in the folders of its cities, by id.

    Raises:
        DataError: There is no such file.
    """
    ending = f"_{kind}{suffix}"
    files = {path.name.removesuffix(ending): path for path in sorted((root / kind / folder).glob(f"*/*{ending}"))}
    if not files:
        raise NoSuchSplitError(f"it holds no files <city>/*{ending}", root / kind / folder)
    return files


def _train_ids() -> NDArray[np.uint8]:
    """The class of each 8-bit label id (256,), 255 for void."""
    table = np.full(256, IGNORE_INDEX, np.uint8)
    table[list(LABEL_IDS)] = np.arange(len(LABEL_IDS))
    return table


_TRAIN_IDS = _train_ids()
