"""Missing class files, values, colours and lists of your own data, written from what the data hold.

Images and masks are never changed. A class_names.txt that is replaced is kept beside the new one.
"""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from uuid import uuid4

from rich.console import Console
from rich.progress import track

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.datasets.class_names import CLASS_FILE, VOID, Key, read_class_names, read_label_map, text_of
from deeplab_lightning.datasets.folder import Ratio, ids_by_ratio
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.masks import count_keys
from deeplab_lightning.datasets.polygons import names_in
from deeplab_lightning.datasets.scan import scan
from deeplab_lightning.datasets.segmentation import SegmentationDataset, list_images
from deeplab_lightning.datasets.transforms import EvaluationTransform
from deeplab_lightning.palette import BACKGROUND, VOC_COLORS, VOC_VOID

MASK_FOLDERS = ("masks", "SegmentationClass")
KEPT = f"{CLASS_FILE}.before"
"""Name of the class file that was replaced."""
SHARES: Ratio = (0.8, 0.1, 0.1)
"""Shares of train, val and test in lists that are written."""
MAX_SHOWN = 8
BLACK = (0, 0, 0)
RENAME = "give the classes their names there"


def mend_classes(root: Path, annotations: Path | None, num_workers: int) -> str:
    """Write class_names.txt if it is missing, or lacks the values or colours that the masks hold.

    Args:
        root: Folder of the tree.
        annotations: Polygons (see `Annotations`); None for masks.
        num_workers: Number of processes that read the masks.

    Returns:
        A sentence about what was done, or why nothing was; empty if nothing is wrong.

    Raises:
        DataError: Masks, polygons or class_names.txt cannot be read.
    """
    path = root / CLASS_FILE
    names = read_class_names(root) if path.is_file() else None
    if names and (annotations is not None or read_label_map(root) is not None):
        return ""
    if annotations is not None:
        found = [BACKGROUND, *(name for name in names_in(annotations) if name != BACKGROUND)]
        return _write(path, found, "the names that the polygons have, after that of all other pixels")
    folder = next((root / name for name in MASK_FOLDERS if (root / name).is_dir()), None)
    if folder is None:
        return f"{root}: not mended, because it has neither of {', '.join(MASK_FOLDERS)}, and no polygons"
    held = _keys(folder, num_workers)
    if len({len(key) for key in held}) > 1:
        return f"{path}: not mended, because some masks hold values and others colours"
    if len(held) > IGNORE_INDEX + 1:
        return f"{path}: not mended, because the masks hold {len(held)} values or colours; these are no classes"
    colored = len(next(iter(held))) == 3
    lines, why = (_colors if colored else _values)(held, names)
    if lines:
        return _write(path, lines, why)
    return f"{path}: not mended, because {why}" if why else ""


def mend_lists(root: Path) -> str:
    """Write the lists of plain folders that have none, with the images that `split_ratio` would assign to each split.

    Args:
        root: Folder of the tree.

    Returns:
        A sentence about what was done, or why nothing was; empty if there are lists.
    """
    folder = root / "splits"
    if not (root / "images").is_dir() or folder.exists():
        return ""
    image_ids = sorted(list_images(root / "images"))
    lists: dict[str, list[str]] = {}
    for split in ("train", "val", "test"):
        try:
            lists[split] = ids_by_ratio(image_ids, split, SHARES, root)
        except DataError as error:
            if split != "test":  # data need not have one
                return f"{folder}: not written, because {error}"
    draft = root / f".splits.{uuid4().hex[:8]}"
    for split, own in lists.items():
        write_atomically(draft / f"{split}.txt", "".join(f"{image_id}\n" for image_id in own))
    os.rename(draft, folder)
    counts = ", ".join(f"{split} {len(own)}" for split, own in lists.items())
    return f"{folder}: wrote lists by a hash of the names ({counts}); change them as you like"


def _write(path: Path, lines: Sequence[str], what: str) -> str:
    """Write the class file, and keep the one before. An existing copy is not replaced."""
    kept = path.with_name(KEPT)
    if not path.is_file():
        write_atomically(path, "".join(f"{line}\n" for line in lines))
        return f"{path}: wrote {len(lines)} lines: {what}"
    if kept.exists():
        return f"{path}: not mended, because {kept} exists; move it away first"
    write_atomically(kept, path.read_bytes())
    write_atomically(path, "".join(f"{line}\n" for line in lines))
    return f"{path}: wrote {len(lines)} lines: {what}; the file before is {kept.name}"


def _keys(folder: Path, num_workers: int) -> Counter[Key]:
    """The values or colours in all masks of a folder, with their numbers of pixels."""
    files = list_images(folder)
    if not files:
        raise DataError("it holds no masks", folder)
    paths = list(files.values())
    unused = EvaluationTransform((0.5,) * 3, (0.5,) * 3)
    masks = SegmentationDataset(list(files), paths, paths, num_classes=IGNORE_INDEX, transform=unused)
    held: Counter[Key] = Counter()
    counted = scan(masks, lambda dataset, index: count_keys(dataset.mask_files[index]), num_workers)
    for each in track(counted, "reading masks", len(paths), transient=True, console=Console(stderr=True)):
        held.update(each)
    return held


def _values(held: Counter[Key], names: Sequence[str] | None) -> tuple[list[str], str]:
    """The lines for masks of values, and what they are; no lines where these would be a guess, and why."""
    values = sorted(value for (value,) in held)
    others = [value for value in values if value != IGNORE_INDEX]
    binary = IGNORE_INDEX in values and others in ([], [0])
    if names is not None:
        return ([], "") if set(others) <= set(range(len(names))) and not binary else _named(values, others, names)
    if len(values) < 2:
        return [], f"all masks hold {values[0]} alone"
    if binary:
        return [f"{BACKGROUND} = 0", f"foreground = {IGNORE_INDEX}"], f"the masks hold 0 and 255; {RENAME}"
    why = f"the masks hold the values {_shown(values)}; {RENAME}"
    if len(others) > 1 and others == list(range(len(others))):
        return [f"class {value}" for value in others], why
    return _with_void([f"class {value} = {value}" for value in others], values), why


def _named(values: list[int], others: list[int], names: Sequence[str]) -> tuple[list[str], str]:
    """The lines for values in ascending order, if there are as many names."""
    why = "the values in the masks, in ascending order; `deeplab data show` shows whether they fit the names"
    for own in (others, values):
        if len(own) == len(names):
            lines = [f"{name} = {value}" for name, value in zip(names, own, strict=True)]
            return (lines if own is values else _with_void(lines, values)), why
    return [], f"the masks hold the values {_shown(values)}, but there are {len(names)} names"


def _with_void(lines: list[str], values: Sequence[int]) -> list[str]:
    return [*lines, f"{VOID} = {IGNORE_INDEX}"] if IGNORE_INDEX in values else lines


def _colors(held: Counter[Key], names: Sequence[str] | None) -> tuple[list[str], str]:
    """The lines for masks of colours, and what they are; no lines where these would be a guess, and why."""
    colors = [color for color, _ in held.most_common()]
    if len(colors) < 2:
        return [], f"all masks hold the colour {text_of(colors[0])} alone"
    if names is None:
        others = [color for color in colors if color != BLACK]
        lines = [f"{BACKGROUND} 0 0 0"] if BLACK in colors else []
        lines += [f"class {number} {text_of(color)}" for number, color in enumerate(others, 1)]
        return lines, f"the colours in the masks, the most frequent first; {RENAME}, and call {VOID} what is none"
    official = [tuple(color) for color in VOC_COLORS[: len(names)].tolist()]
    if set(colors) <= {*official, VOC_VOID}:
        lines = [f"{name} {text_of(color)}" for name, color in zip(names, official, strict=True)]
        return [*lines, f"{VOID} {text_of(VOC_VOID)}"], "the colours of PASCAL VOC's colour map, in its order"
    shown = _shown(map(text_of, colors))
    return [], f"nothing tells which name has which of the colours {shown}; write them there, as in 'road 128 64 128'"


def _shown(values: Iterable[object]) -> str:
    texts = [str(value) for value in values]
    return ", ".join(texts[:MAX_SHOWN]) + (f" and {len(texts) - MAX_SHOWN} more" if len(texts) > MAX_SHOWN else "")
