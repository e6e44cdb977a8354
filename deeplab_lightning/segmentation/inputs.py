"""The inputs of a segmentation: files, folders, patterns and lists, each with the name of its outputs."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deeplab_lightning.usage import UsageError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".avif", ".tif", ".tiff")
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
STDIN = "-"


@dataclass(frozen=True)
class Item:
    """A file to segment.

    Args:
        path: Path of the file.
        name: Name of its outputs without suffix: the path within the folder that was given.
    """

    path: Path
    name: str

    @property
    def is_video(self) -> bool:
        """Whether the file is a video, by its suffix."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES


@dataclass(frozen=True)
class Inputs:
    """What was found.

    Args:
        items: Files to segment, in the order of the inputs, and by name within a folder.
        skipped: Number of files in folders that are neither images nor videos, by suffix.
    """

    items: tuple[Item, ...]
    skipped: dict[str, int]


def find_inputs(words: Sequence[str], listed: Iterable[str] = ()) -> Inputs:
    """Find the files that inputs name.

    Args:
        words: Files, folders (with all folders within), patterns with * or ?, and "-" for a list of them.
        listed: Lines of that list.

    Raises:
        UsageError: A pattern matches nothing, a folder holds no images, or two files would have the same outputs.
    """
    words = [
        each for word in words for each in ([line.strip() for line in listed] if word == STDIN else [word]) if each
    ]
    skipped: Counter[str] = Counter()
    found: dict[Path, Path] = {}  # path within the given folder, by path
    for word in words:
        path = Path(word)
        if path.is_dir():
            inside = list(_walk(path, skipped))
            if not inside:
                raise UsageError(f"{path}: it holds no image (of {', '.join(IMAGE_SUFFIXES)}) and no video")
            found |= {each: each.relative_to(path) for each in inside if each not in found}
        elif glob.has_magic(word) and not path.exists():
            matches = [Path(match) for match in sorted(glob.glob(word, recursive=True)) if os.path.isfile(match)]
            if not matches:
                raise UsageError(f"{word}: no file matches")
            root = Path(*_without_magic(path.parent.parts))
            found |= {each: each.relative_to(root) for each in matches if each not in found}
        else:
            found.setdefault(path, Path(path.name))
    return Inputs(_named(found), dict(skipped))


def of_shard(items: Sequence[Item], index: int, count: int) -> list[Item]:
    """Return every `count`-th item from item `index` on."""
    return list(items[index::count])


def _walk(folder: Path, skipped: Counter[str]) -> Iterable[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            suffix = Path(name).suffix.lower()
            if suffix in IMAGE_SUFFIXES + VIDEO_SUFFIXES and not name.startswith("."):
                yield Path(parent) / name
            else:
                skipped[suffix or name] += 1


def _without_magic(parts: Sequence[str]) -> list[str]:
    plain: list[str] = []
    for part in parts:
        if glob.has_magic(part):
            break
        plain.append(part)
    return plain


def _named(found: dict[Path, Path]) -> tuple[Item, ...]:
    """Name outputs after files without their suffix; files that differ in it alone keep it."""
    stems = Counter(inside.with_suffix("") for inside in found.values())
    items: dict[str, Item] = {}
    for path, inside in found.items():
        name = (inside.with_suffix("") if stems[inside.with_suffix("")] == 1 else inside).as_posix()
        if name in items:
            raise UsageError(f"{items[name].path} and {path} would both be written as {name}; segment them separately")
        items[name] = Item(path, name)
    return tuple(items.values())
