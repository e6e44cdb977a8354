"""Writing a segmentation into a folder, each file completely or not at all."""

import json
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeplab_lightning.atomic import replacing, write_atomically

if TYPE_CHECKING:
    from deeplab_lightning.segmentation.result import SegmentationResult

Kind = Literal["masks", "overlays", "confidence", "probabilities", "polygons"]
SUFFIXES: dict[Kind, str] = {
    "masks": ".png",
    "overlays": ".jpg",
    "confidence": ".png",
    "probabilities": ".npz",
    "polygons": ".json",
}
"""The kinds of files, which are the names of their folders, and the suffix of each."""
LONGEST_JPEG_SIDE = 65500
PAGE = re.compile(r"_page\d{4,}$")
"""What follows the name of an input in the names of its pages' results."""


def write_result(
    result: "SegmentationResult", folder: Path, name: str, kinds: Collection[Kind] = tuple(SUFFIXES)
) -> list[str]:
    """Write a result into a folder, a folder of it for each kind of file: masks/NAME.png, overlays/NAME.jpg and so on.

    Args:
        result: The result; confidence and probabilities are written if it has them.
        folder: The folder.
        name: Name of the files without suffix, which may hold folders.
        kinds: Kinds of files to write.

    Returns:
        The paths of the written files, relative to the folder.

    Raises:
        OSError: A file cannot be written.
    """
    absent = {"confidence": result.confidence is None, "probabilities": result.probabilities is None}
    written = []
    for kind in SUFFIXES:
        if kind in kinds and not absent.get(kind):
            path = folder / kind / f"{name}{SUFFIXES[kind]}"
            WRITERS[kind](result, path)
            written.append(path.relative_to(folder).as_posix())
    return written


def remove_drafts(folder: Path, names: Collection[str]) -> None:
    """Remove the drafts of results that killed processes left behind.

    Args:
        folder: The folder of results.
        names: Names of the results, without suffix; drafts of others, which may be in progress, stay.
    """
    own = set(names)
    for parent in sorted({folder / kind / Path(name).parent for name in own for kind in SUFFIXES}):
        for draft in parent.glob(".*.draft"):
            stem = draft.name[1:].rsplit(".", 3)[0]  # of .STEM.png.0123abcd.draft
            inside = (parent / PAGE.sub("", stem)).relative_to(folder)
            if Path(*inside.parts[1:]).as_posix() in own:
                draft.unlink(missing_ok=True)


def write_png(path: Path, image: Image.Image) -> None:
    """Write a PNG. The fastest compression costs few bytes on label maps."""
    with replacing(path) as draft:
        image.save(draft, "PNG", compress_level=1)


def write_probabilities(path: Path, probabilities: NDArray[Any]) -> None:
    """Write probabilities (K, H, W) as float16 under the name `probabilities` of an .npz file."""
    with replacing(path) as draft, draft.open("wb") as file:
        np.savez(file, probabilities=probabilities.astype(np.float16, copy=False))


def _write_overlay(result: "SegmentationResult", path: Path) -> None:
    drawn = result.overlay()
    if max(drawn.size) > LONGEST_JPEG_SIDE:
        raise OSError(f"{path}: a JPEG has sides of at most {LONGEST_JPEG_SIDE} pixels, but it has {drawn.size}")
    with replacing(path) as draft:
        drawn.save(draft, "JPEG", quality=90)


def _write_confidence(result: "SegmentationResult", path: Path) -> None:
    assert result.confidence is not None
    write_png(path, Image.fromarray(result.confidence))


def _write_probabilities(result: "SegmentationResult", path: Path) -> None:
    assert result.probabilities is not None
    write_probabilities(path, result.probabilities)


WRITERS: dict[Kind, Callable[["SegmentationResult", Path], None]] = {
    "masks": lambda result, path: write_png(path, result.label_image()),
    "overlays": _write_overlay,
    "confidence": _write_confidence,
    "probabilities": _write_probabilities,
    "polygons": lambda result, path: write_atomically(path, json.dumps(result.coco())),
}
