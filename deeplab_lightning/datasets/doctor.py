"""The data doctor: every fault of a data set, its counts, and the frequencies of its classes."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.datasets.images import DataError, load, read_image_of_mask
from deeplab_lightning.datasets.scan import scan
from deeplab_lightning.datasets.segmentation import SegmentationDataset
from deeplab_lightning.datasets.voc import VOCDataset


@dataclass(frozen=True)
class Fault:
    """One fault, and the file that has it."""

    file: str
    fault: str


@dataclass
class Findings:
    """What the doctor found.

    Args:
        faults: all of them.
        counts: number of images of each split.
        class_frequencies: by class: share of the labelled pixels of the training split, images that hold it, and weight
            by median frequency (0 for a class that does not occur).
    """

    faults: list[Fault] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    class_frequencies: dict[str, dict[str, float]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Look:
    """What one image and its mask show: pixels of each mask value, a hash of the image's pixels, and faults."""

    counts: NDArray[np.int64]
    content: str
    faults: tuple[Fault, ...]


def look(dataset: SegmentationDataset, index: int) -> Look:
    """Read one image and its mask and note what is wrong with either."""
    image_path, mask_path = dataset.images[index], dataset.mask_files[index]
    faults: list[Fault] = []
    counts, content = np.zeros(256, np.int64), ""
    try:
        content = hashlib.blake2b(load(image_path).tobytes(), digest_size=16).hexdigest()
    except DataError as error:
        faults.append(Fault(str(image_path), str(error)))
    try:
        mask = dataset.mask(index)
        counts = np.array(mask.histogram(), np.int64)
        if content:
            read_image_of_mask(image_path, mask, mask_path)
    except DataError as error:
        faults.append(Fault(str(mask_path), str(error)))
    if isinstance(dataset, VOCDataset) and dataset.has_masks and mask_path.suffix == ".png" and counts.any():
        if (mode := load(mask_path).mode) != "P":
            faults.append(
                Fault(str(mask_path), f"{mask_path}: VOC's masks are palette PNGs (mode P), this is mode {mode}")
            )
        if not counts[IGNORE_INDEX]:
            faults.append(Fault(str(mask_path), f"{mask_path}: no void border (255), which VOC's own masks have"))
    return Look(counts, content, tuple(faults))


def examine(
    splits: dict[str, SegmentationDataset],
    train: str,
    class_names: Sequence[str],
    published: dict[str, int],
    num_workers: int,
) -> Findings:
    """Look at every image of every split once.

    Args:
        splits: the data sets by the names of their splits.
        train: name of the training split.
        class_names: of the classes.
        published: number of images that a split of that name must have.
        num_workers: processes.
    """
    findings = Findings(counts={name: len(dataset) for name, dataset in splits.items()})
    places: dict[str, list[tuple[str, Path]]] = {}
    seen: set[tuple[Path, Path]] = set()
    for name, dataset in splits.items():
        if name in published and len(dataset) != published[name]:
            listed = str(dataset.images[0].parent.parent)
            text = f"{listed}: split {name!r} has {len(dataset)} images, published are {published[name]}"
            findings.faults.append(Fault(listed, text))
        new = [index for index, pair in enumerate(_pairs(dataset)) if name == train or pair not in seen]
        seen |= set(_pairs(dataset))
        subset = dataset.subset(new)
        looks = list(
            track(
                scan(subset, look, num_workers),
                f"checking {name}",
                len(subset),
                transient=True,
                console=Console(stderr=True),
            )
        )
        for path, each in zip(subset.images, looks, strict=True):
            findings.faults += each.faults
            if each.content:
                places.setdefault(each.content, []).append((name, path))
        if name == train:
            findings.class_frequencies = frequencies(np.stack([each.counts for each in looks]), class_names)
    findings.faults += [*_duplicates(places.values()), *_leaks(splits, train)]
    findings.faults = list(dict.fromkeys(findings.faults))
    return findings


def _pairs(dataset: SegmentationDataset) -> Iterable[tuple[Path, Path]]:
    return zip(dataset.images, dataset.mask_files, strict=True)


def _duplicates(places: Iterable[list[tuple[str, Path]]]) -> Iterable[Fault]:
    for same in places:
        paths = sorted({path for _, path in same})
        for path in paths[1:]:
            yield Fault(str(path), f"{path}: the same image as {paths[0]}")


def _leaks(splits: dict[str, SegmentationDataset], train: str) -> Iterable[Fault]:
    own = dict(zip(splits[train].image_ids, splits[train].images, strict=True))
    for name, dataset in splits.items():
        if name == train or name in train:  # trainval holds train and val on purpose
            continue
        for image_id in dataset.image_ids:
            if image_id in own:
                yield Fault(str(own[image_id]), f"{own[image_id]}: in the training split {train!r} and in {name!r}")


def frequencies(counts: NDArray[np.int64], class_names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Frequencies of the classes, and weights by median frequency (Eigen and Fergus, arXiv:1411.4734, section 6.3.2).

    A class's frequency is its pixels over the labelled pixels of the images that hold it; its weight is the median of
    the frequencies over its own.

    Args:
        counts: (N, 256), pixels of each mask value in each image.
        class_names: of the first values.
    """
    own = counts[:, : len(class_names)]
    labelled = own.sum(1, keepdims=True)
    held = own > 0
    pixels, around = own.sum(0), (held * labelled).sum(0)
    frequency = np.divide(pixels, around, out=np.zeros(len(class_names)), where=around > 0)
    median = float(np.median(frequency[frequency > 0])) if (frequency > 0).any() else 0.0
    return {
        name: {
            "pixel_share": float(pixels[index] / max(1, pixels.sum())),
            "images": int(held[:, index].sum()),
            "weight": median / float(frequency[index]) if frequency[index] else 0.0,
        }
        for index, name in enumerate(class_names)
    }
