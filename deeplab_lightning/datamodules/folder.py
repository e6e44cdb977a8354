"""Your own data."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.datamodules.base import SegmentationDataModule
from deeplab_lightning.datasets.class_counts import class_counts, count_values
from deeplab_lightning.datasets.class_names import CLASS_FILE, read_class_names, read_label_map, read_palette
from deeplab_lightning.datasets.coco_instances import Overlap
from deeplab_lightning.datasets.folder import FolderDataset
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.mending import MASK_FOLDERS
from deeplab_lightning.datasets.pixels import PixelFormat
from deeplab_lightning.datasets.polygons import SPLIT, Annotations
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

    Polygons may take the place of masks: a COCO JSON whose categories, or labelme's files whose labels, are names in
    class_names.txt. Pixels in no polygon are of the class "background", or void if there is no such class.

    Args:
        root: Folder of the tree; a relative path is looked up in the working directory, then in the folder that
            DEEPLAB_DATA names (default: data).
        split_ratio: Shares of train, val and test for plain folders without lists; the split of an image depends on its
            name alone, not on the seed.
        in_channels: Number of channels of the images; the network takes it over. Other images than RGB are read from
            TIFFs and PNGs, and need `mean` and `std`.
        value_range: Values of the images that stand for 0 and 1, such as [0, 4095] for 12 bits stored in 16. Images of
            more than 8 bits are refused without it.
        annotations: Polygons, in the folder of the tree: a COCO JSON for all images, one for each split, whose name
            {split} stands for (its images are the split), or the folder of labelme's JSON files, one for each image.
            When not given, and there is no folder of masks: annotations.json, annotations/instances_{split}.json,
            annotations or images, whichever exists.
        overlap: Class of a pixel in several polygons: that of the "last" one in the file, as if drawn on top, that of
            the "first", or "void"; "last" when not given. COCO's crowd regions are void.
        kwargs: Settings of `SegmentationDataModule`.
    """

    def __init__(
        self,
        root: str,
        split_ratio: tuple[float, float, float] | None = None,
        in_channels: int = 3,
        value_range: tuple[float, float] | None = None,
        annotations: str | None = None,
        overlap: Overlap | None = None,
        **kwargs: Any,
    ) -> None:
        self.pixel_format = PixelFormat(in_channels, value_range)
        self.root, self.split_ratio = find_root(root), split_ratio
        self.label_map = read_label_map(self.root)
        self._palette = read_palette(self.root)
        class_names = read_class_names(self.root)
        place = find_annotations(self.root, annotations)
        if place is None and overlap is not None:
            raise ValueError(f"overlap {overlap!r} is for polygons, but {self.root} has masks; leave it out")
        self.annotations = None if place is None else Annotations(place, tuple(class_names), overlap or "last")
        super().__init__(class_names, self.root.name, **kwargs)

    @property
    def palette(self) -> Palette:
        """The names and colours of the classes, as class_names.txt gives them."""
        return self._palette

    @property
    def labels(self) -> str:
        """The source of the ground truth, as worded in the evaluation identity."""
        if self.annotations is not None:
            place = os.path.relpath(self.annotations.path, self.root)
            return f"polygons of {place}, overlaps {self.annotations.overlap}, void left out"
        folder = "masks/" if (self.root / "masks").is_dir() else "SegmentationClass"
        by_value = any(len(key) == 1 for key in self.label_map or ())
        return f"masks of {folder}, {'values by class_names.txt, void' if by_value else 'void 255'} left out"

    def setup(self, stage: str) -> None:
        """Refuse a training whose masks hold void and one class, like binary masks of 0 and 255; warn of one class.

        Few masks are read. Only if they are suspicious, all are.

        Raises:
            DataError: There is nothing to learn.
        """
        if stage != "fit":
            return
        dataset = self.dataset(self.splits["train"], self.eval_transform)
        chosen = np.linspace(0, len(dataset) - 1, min(NUM_CHECKED, len(dataset))).astype(int).tolist()
        counts = np.sum([count_values(dataset, index) for index in chosen], 0)
        classes = [name for name, count in zip(self.class_names, counts, strict=False) if count]
        if len(classes) < 2:
            if counts[IGNORE_INDEX] and self.annotations is None and self.label_map is None:
                self._refuse_void(dataset)
            held = f"no class but {classes[0]!r}" if classes else "nothing but void"
            rank_zero_warn(
                f"{self.root}: the masks of {len(chosen)} images of split {self.splits['train']!r} hold {held}; "
                "`deeplab data check` checks all of them"
            )

    def _refuse_void(self, dataset: FolderDataset) -> None:
        values = np.flatnonzero(class_counts(dataset, self.num_workers).sum(0)).tolist()
        if len(values) < 3 and values[-1] == IGNORE_INDEX:
            raise DataError(
                f"the masks of split {self.splits['train']!r} hold {' and '.join(map(str, values))} alone, and "
                f"{IGNORE_INDEX} is void, so there is nothing to learn; `deeplab data check --fix` writes a class for "
                f"{IGNORE_INDEX} into {CLASS_FILE}",
                self.root,
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
            annotations=self.annotations,
        )


def find_annotations(root: Path, given: str | None) -> Path | None:
    """The path of the polygons, in which {split} may stand for the name of the split; None for masks.

    Args:
        root: Folder of the tree.
        given: Path in it that the settings name; None to take what there is, masks first.

    Raises:
        DataError: The file or folder that is given does not exist.
    """
    if given is not None:
        path = root / given
        if SPLIT not in given and not path.exists():
            raise DataError("no such file or folder (data.annotations)", path)
        return path
    if any((root / folder).is_dir() for folder in MASK_FOLDERS):
        return None
    if (root / "annotations.json").is_file():
        return root / "annotations.json"
    if any((root / "annotations").glob("instances_*.json")):
        return root / "annotations" / f"instances_{SPLIT}.json"
    return next((root / folder for folder in ("annotations", "images") if any((root / folder).glob("*.json"))), None)


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
