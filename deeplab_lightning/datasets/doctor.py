"""The check of a data set: its faults, the number of images in each split, and the class frequencies."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.datasets.class_names import CLASS_FILE
from deeplab_lightning.datasets.faults import Fault
from deeplab_lightning.datasets.folder import FolderDataset
from deeplab_lightning.datasets.images import DataError, load
from deeplab_lightning.datasets.pixels import PixelFormat, Pixels, read_pixels, read_pixels_of_mask
from deeplab_lightning.datasets.scan import cause_of_death, scan
from deeplab_lightning.datasets.segmentation import SegmentationDataset
from deeplab_lightning.datasets.voc import VOCDataset

MAX_VOID_SHARE = 0.5
"""Largest share of a split's pixels that may be void, unless a line of the class file declares void.

Densely labelled data stay far below: 4 % of CamVid is void, 5 % of VOC, up to 3 % of a sample of COCO. (The bound is
for splits because single images of VOC have more than half.) Two kinds of data exceed it. Scribbles and points are
mostly void on purpose, and their class file can declare so. Masks that use 255 for a class are a mistake.
"""
HOW_TO_MAP = (
    f"255 is read as void: where masks hold other values or colours, give each class its own in {CLASS_FILE} "
    "('name = 255' or 'name R G B'); --fix does so where it can"
)


@dataclass
class Findings:
    """The results of the check.

    Args:
        faults: All faults, split by split.
        counts: Number of images in each split.
        void_shares: Share of void pixels in each split, without the images that an earlier split holds too.
        class_frequencies: Three values for each class: its share of the labelled pixels of the training split, the
            number of images that hold it, and its weight by median frequency (0 for a class that does not occur).
        channels: Mean and standard deviation of each channel of the training images, on the scale of the value range.
    """

    faults: list[Fault] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    void_shares: dict[str, float] = field(default_factory=dict)
    class_frequencies: dict[str, dict[str, float]] = field(default_factory=dict)
    channels: dict[str, list[float]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The findings as plain values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Inspection:
    """The result of reading one image and its mask.

    Args:
        counts: Number of pixels of each mask value, (256,); zeros if the mask cannot be read.
        content: Hash of the image's pixels; empty if the image cannot be read.
        faults: Faults of either file.
        moments: Number of pixels, and sums of the values and of their squares on the scale of the value range, (3, C);
            None if the image cannot be read.
    """

    counts: NDArray[np.int64]
    content: str
    faults: tuple[Fault, ...]
    moments: NDArray[np.float64] | None = None


def inspect(dataset: SegmentationDataset, index: int) -> Inspection:
    """Read one image and its mask and note the faults of both."""
    image_path, mask_path = dataset.images[index], dataset.mask_files[index]
    faults: list[Fault] = []
    counts, content, moments = np.zeros(256, np.int64), "", None
    try:
        image = read_pixels(image_path, dataset.pixel_format)
        size = b"%dx%d" % image.shape[:2]
        content = hashlib.blake2b(image.tobytes(), digest_size=16, salt=size).hexdigest()
        moments = _moments(image, dataset.pixel_format)
        faults += [_fault(image_path, fault) for fault in _out_of_range(image, dataset.pixel_format)]
    except Exception as error:  # decoders raise many kinds of error, and one bad file must not end the check
        faults.append(_fault_of(image_path, error))
    try:
        mask = dataset.mask(index)
        counts = np.array(mask.histogram(), np.int64)
        if content:
            read_pixels_of_mask(image_path, dataset.pixel_format, mask, mask_path)
    except Exception as error:
        faults.append(_fault_of(mask_path, error))
    if counts.any():
        named = image_path if mask_path.suffix == ".json" else mask_path  # one JSON may hold all images
        faults += [_fault(named, fault) for fault in _mask_faults(dataset, mask_path, counts)]
    return Inspection(counts, content, tuple(faults), moments)


def _moments(image: Pixels, pixel_format: PixelFormat) -> NDArray[np.float64]:
    low, high = pixel_format.limits
    values: NDArray[Any] = image.reshape(-1, image.shape[2])
    counts = np.ones_like(values, np.float64)
    if image.dtype == np.uint8:  # 256 values are faster than all pixels
        counts = np.stack([np.bincount(channel, minlength=256) for channel in values.T], 1).astype(np.float64)
        values = np.arange(256)[:, None]
    scaled = (values - np.float64(low)) / (high - low)
    moments: NDArray[np.float64] = np.stack([counts, counts * scaled, counts * scaled**2]).sum(1)
    return moments


def _out_of_range(image: Pixels, pixel_format: PixelFormat) -> Iterable[str]:
    (low, high), least, largest = pixel_format.limits, image.min(), image.max()
    if least < low or largest > high:
        yield f"its values from {least:g} to {largest:g} exceed the value_range [{low:g}, {high:g}]"


def _fault(path: Path, fault: str) -> Fault:
    return Fault.of(DataError(fault, path))


def _fault_of(path: Path, error: Exception) -> Fault:
    """The fault that a DataError carries; for any other error, that the file cannot be read."""
    return (
        Fault.of(error)
        if isinstance(error, DataError)
        else _fault(path, f"cannot be read ({type(error).__name__}: {error})")
    )


def _mask_faults(dataset: SegmentationDataset, path: Path, counts: NDArray[np.int64]) -> Iterable[str]:
    """The faults of a mask that can be read."""
    if not dataset.has_masks:
        return
    if isinstance(dataset, VOCDataset | FolderDataset) and counts[IGNORE_INDEX] == counts.sum():
        # Not for COCO, where a crowd region may fill an image.
        yield "void everywhere: there is nothing to learn or to score"
    if isinstance(dataset, VOCDataset) and path.suffix == ".png":
        if (mode := load(path).mode) != "P":
            yield f"VOC's masks are palette PNGs (mode P), but this one is in mode {mode}"
        if not counts[IGNORE_INDEX]:
            yield "no void border (255), which VOC's own masks have"


def examine(
    splits: dict[str, SegmentationDataset],
    train: str,
    class_names: Sequence[str],
    *,
    published: Mapping[str, int],
    never_labelled: Collection[str],
    num_workers: int,
) -> Findings:
    """Inspect every image of every split once.

    Args:
        splits: Data sets by the names of their splits.
        train: Name of the training split, which may be missing from `splits`.
        class_names: Names of the classes.
        published: Published number of images by the name of the split.
        never_labelled: Names of classes that never occur in the published data.
        num_workers: Number of worker processes.
    """
    findings = Findings(counts={name: len(dataset) for name, dataset in splits.items()})
    places: dict[str, list[tuple[str, Path]]] = {}
    seen: set[tuple[Path, Path]] = set()
    for name, dataset in splits.items():
        if name in published and len(dataset) != published[name]:
            held = f"{len(dataset)} image{'' if len(dataset) == 1 else 's'}"
            text = f"split {name!r} has {held}, but the published number is {published[name]}"
            findings.faults.append(_fault(dataset.images[0].parent.parent, text))
        new = [index for index, pair in enumerate(_pairs(dataset)) if name == train or pair not in seen]
        seen |= set(_pairs(dataset))
        subset = dataset.subset(new)
        inspections = _inspect_all(subset, f"checking {name}", num_workers)
        for path, each in zip(subset.images, inspections, strict=True):
            findings.faults += each.faults
            if each.content:
                places.setdefault(each.content, []).append((name, path))
        counts = np.array([each.counts for each in inspections]).reshape(-1, 256)
        if dataset.has_masks and counts.any():
            findings.void_shares[name] = float(counts[:, IGNORE_INDEX].sum() / counts.sum())
            findings.faults += _too_much_void(dataset, name, findings.void_shares[name])
        if name == train:
            findings.class_frequencies = frequencies(counts, class_names)
            findings.channels = _mean_and_std([each.moments for each in inspections if each.moments is not None])
            findings.faults += _absent_classes(dataset, name, findings.class_frequencies, never_labelled)
    findings.faults += [*_duplicates(places.values()), *_leaks(splits, train)]
    return findings


def _mean_and_std(moments: Sequence[NDArray[np.float64]]) -> dict[str, list[float]]:
    if not moments:
        return {}
    pixels, sums, squares = np.sum(moments, 0)
    mean = sums / pixels
    std = np.sqrt((squares / pixels - mean**2).clip(min=0))
    return {"mean": mean.round(4).tolist(), "std": std.round(4).tolist()}


def _inspect_all(dataset: SegmentationDataset, title: str, num_workers: int) -> list[Inspection]:
    inspections = scan(dataset, inspect, num_workers, _killed)
    return list(track(inspections, escape(title), len(dataset), transient=True, console=Console(stderr=True)))


def _killed(dataset: SegmentationDataset, index: int) -> Inspection:
    """The inspection of an image on which a worker process died."""
    fault = _fault(dataset.images[index], cause_of_death(dataset, index))
    return Inspection(np.zeros(256, np.int64), "", (fault,))


def _pairs(dataset: SegmentationDataset) -> Iterable[tuple[Path, Path]]:
    return zip(dataset.images, dataset.mask_files, strict=True)


def _too_much_void(dataset: SegmentationDataset, split: str, share: float) -> Iterable[Fault]:
    meant = isinstance(dataset, FolderDataset) and (
        dataset.annotations is not None or IGNORE_INDEX in (dataset.label_map or {}).values()
    )
    if share > MAX_VOID_SHARE and not meant:
        folder = dataset.mask_files[0].parent
        text = f"{share:.1%} of the pixels of split {split!r} are void, more than {MAX_VOID_SHARE:.0%}"
        if isinstance(dataset, FolderDataset):
            text += f"; {HOW_TO_MAP}; if the void is meant, add the line 'void = 255'"
        yield _fault(folder, text)


def _absent_classes(
    dataset: SegmentationDataset, split: str, found: dict[str, dict[str, float]], never_labelled: Collection[str]
) -> Iterable[Fault]:
    absent = [
        f"{index} ({name})"
        for index, (name, row) in enumerate(found.items())
        if not row["images"] and name not in never_labelled
    ]
    if absent:
        one = len(absent) == 1
        text = f"class{'' if one else 'es'} {', '.join(absent)} occur{'s' if one else ''} in no mask of split {split!r}"
        if isinstance(dataset, FolderDataset):
            path = dataset.root / CLASS_FILE
            is_plain = dataset.label_map is None and dataset.annotations is None
            text += f"; {HOW_TO_MAP}; a class that no image shows is left out there" if is_plain else ""
        else:
            path = dataset.mask_files[0].parent
        yield _fault(path, text)


def _duplicates(places: Iterable[list[tuple[str, Path]]]) -> Iterable[Fault]:
    for same in places:
        splits = {path: split for split, path in reversed(same)}
        first, *others = sorted(splits)
        for path in others:
            text = f"the same image as {first}"
            if splits[first] != splits[path]:
                text += f", which is in split {splits[first]!r}; this one is in {splits[path]!r}"
            yield _fault(path, text)


def _leaks(splits: dict[str, SegmentationDataset], train: str) -> Iterable[Fault]:
    if train not in splits:
        return
    own = dict(zip(splits[train].image_ids, splits[train].images, strict=True))
    for name, dataset in splits.items():
        on_purpose = train.startswith("trainval") and name in ("train", "val")
        for image_id in dataset.image_ids:
            if image_id in own and name != train and not on_purpose:
                yield _fault(own[image_id], f"in the training split {train!r} and in {name!r}")


def frequencies(counts: NDArray[np.int64], class_names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Frequencies of the classes, and weights by median frequency (Eigen and Fergus, arXiv:1411.4734, section 6.3.2).

    The frequency of a class is the number of its pixels divided by the number of labelled pixels in the images that
    hold it. Its weight is the median of all frequencies divided by its own frequency.

    Args:
        counts: Number of pixels of each mask value in each image, (N, 256).
        class_names: Names of the classes; class k has mask value k.
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
