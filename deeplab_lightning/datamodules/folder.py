"""Your own data."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn

from deeplab_lightning.datamodules.base import SegmentationDataModule
from deeplab_lightning.datasets.class_counts import count_values
from deeplab_lightning.datasets.class_names import read_class_names, read_label_map, read_palette
from deeplab_lightning.datasets.folder import FolderDataset
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.pixels import PixelFormat
from deeplab_lightning.datasets.transforms import Transform
from deeplab_lightning.palette import Palette

NUM_CHECKED = 16
"""Number of masks that are checked before a training, few enough not to delay it."""


class FolderDataModule(SegmentationDataModule):
    """Any tree in the VOC layout (JPEGImages, SegmentationClass, ImageSets/Segmentation/*.txt), or plain folders.

    Plain folders are images/ and masks/, with the ids of the splits in splits/*.txt or with `split_ratio`. In both
    layouts, class_names.txt names one class per line: line k names the class of mask value k, and 255 is void. Where
    masks hold other values or colours, each line gives those of its class, and a line with the name void those of void:

        road = 7                for masks of other values; void, for example, is `void = 0`
        road 128 64 128         for colour-coded masks, R G B; void, for example, is `void 0 0 0`

    A colour or value that the file does not name is refused. The colours are also those of every picture; masks of
    values get theirs from lines like `road = 7 128 64 128`, and other classes have colours that can be told apart.

    Args:
        root: Folder of the tree; a relative path is looked up in the working directory, then in the folder that
            DEEPLAB_DATA names (default: data).
        split_ratio: Shares of train, val and test for plain folders without lists; the split of an image depends on its
            name alone, not on the seed.
        in_channels: Number of channels of the images; the network takes it over. Other images than RGB are read from
            TIFFs and PNGs, and need `mean` and `std`.
        value_range: Values of the images that stand for 0 and 1, such as [0, 4095] for 12 bits stored in 16. Images of
            more than 8 bits are refused without it.
        kwargs: Settings of `SegmentationDataModule`.
    """

    def __init__(
        self,
        root: str,
        split_ratio: tuple[float, float, float] | None = None,
        in_channels: int = 3,
        value_range: tuple[float, float] | None = None,
        **kwargs: Any,
    ) -> None:
        self.pixel_format = PixelFormat(in_channels, value_range)
        self.root, self.split_ratio = find_root(root), split_ratio
        self.label_map = read_label_map(self.root)
        self._palette = read_palette(self.root)
        super().__init__(read_class_names(self.root), self.root.name, **kwargs)

    @property
    def palette(self) -> Palette:
        """The names and colours of the classes, as class_names.txt gives them."""
        return self._palette

    @property
    def labels(self) -> str:
        """The source of the ground truth, as worded in the evaluation identity."""
        folder = "masks/" if (self.root / "masks").is_dir() else "SegmentationClass"
        by_value = any(len(key) == 1 for key in self.label_map or ())
        return f"masks of {folder}, {'values by class_names.txt, void' if by_value else 'void 255'} left out"

    def setup(self, stage: str) -> None:
        """Warn before a training whose masks seem to hold only one class, like binary masks of 0 and 255."""
        if stage != "fit":
            return
        dataset = self.dataset(self.splits["train"], self.eval_transform)
        chosen = np.linspace(0, len(dataset) - 1, min(NUM_CHECKED, len(dataset))).astype(int).tolist()
        counts = np.sum([count_values(dataset, index) for index in chosen], 0)
        classes = [name for name, count in zip(self.class_names, counts, strict=False) if count]
        if len(classes) < 2:
            held = f"no class but {classes[0]!r}" if classes else "nothing but void"
            rank_zero_warn(
                f"{self.root}: the masks of {len(chosen)} images of split {self.splits['train']!r} hold {held}; "
                "`deeplab data check` checks all of them"
            )

    def dataset(self, split: str, transform: Transform) -> FolderDataset:
        """The data set of a split."""
        return FolderDataset(
            self.root,
            split,
            num_classes=self.num_classes,
            transform=transform,
            seed=self.seed,
            label_map=self.label_map,
            split_ratio=self.split_ratio,
            pixel_format=self.pixel_format,
        )


def find_root(root: str) -> Path:
    """The folder with a name, in the working directory or in the data folder.

    Raises:
        DataError: The folder is in neither place, or it is empty.
    """
    places = [Path(root)]
    if not places[0].is_absolute():
        places.append(Path(os.environ.get("DEEPLAB_DATA", "data")) / root)
    for place in places:
        if place.is_dir():
            if not any(place.iterdir()):
                raise DataError(f"data root {place} is empty")
            return place.resolve()
    tried = " or ".join(str(place) for place in places)
    raise DataError(
        f"data root {root!r} does not exist (tried {tried}); set --data.root, or set DEEPLAB_DATA to the data folder"
    )
