"""The inputs of a segmentation: files, folders, patterns and lists, each with the name of its outputs."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import TypeVar

from deeplab_lightning.segmentation.addresses import Address, Place, located
from deeplab_lightning.usage import UsageError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".avif", ".tif", ".tiff")
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
STDIN = "-"
Found = TypeVar("Found")


@dataclass(frozen=True)
class Item:
    """A file to segment.

    Args:
        path: Path or address of the file.
        name: Name of its outputs without suffix: the path within the folder that was given.
    """

    path: Place
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


def find_inputs(words: Sequence[str], listed: Iterable[str] = (), out: Place | None = None) -> Inputs:
    """Find the files that inputs name.

    Args:
        words: Files, folders (with all folders within), patterns with * or ?, each as a path or an fsspec address, and
            "-" for a list of them.
        listed: Lines of that list.
        out: Folder of the outputs. It is left out of the folders that hold it, so that a second run does not take the
            label maps of the first for images.

    Raises:
        OSError: An address cannot be reached.
        UsageError: A pattern matches nothing, a folder holds no images or is that of the outputs, or two files would
            have the same outputs.
    """
    words = [
        each for word in words for each in ([line.strip() for line in listed] if word == STDIN else [word]) if each
    ]
    skipped: Counter[str] = Counter()
    found: dict[Place, PurePath] = {}  # path within the given folder, by path
    own = out.resolve() if isinstance(out, Path) else None
    for word in words:
        place = located(word)
        if isinstance(place, Path) and own == place.resolve():
            raise UsageError(f"--out {out} is a folder of the inputs, where a second run would segment the label maps")
        inside = _on_disk(place, word, skipped, own) if isinstance(place, Path) else _at_address(place, skipped)
        found |= {path: name for path, name in inside.items() if path not in found}
    return Inputs(_named(found), dict(skipped))


def of_shard(items: Sequence[Item], index: int, count: int) -> list[Item]:
    """Return every `count`-th item from item `index` on."""
    return list(items[index::count])


def _on_disk(path: Path, word: str, skipped: Counter[str], out: Path | None) -> dict[Place, PurePath]:
    if path.is_dir():
        inside = [each for each in _walk(path, out) if _is_wanted(each, skipped)]
        return {each: each.relative_to(path) for each in _some(inside, word)}
    if glob.has_magic(word) and not path.exists():
        matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True)) if os.path.isfile(match)]
        root = Path(*_without_magic(path.parent.parts))
        return {each: each.relative_to(root) for each in _matching(matches, word)}
    return {path: PurePath(path.name)}


def _at_address(address: Address, skipped: Counter[str]) -> dict[Place, PurePath]:
    if glob.has_magic(address.url):
        root, names = address.matches()
        return {root / name: PurePosixPath(name) for name in _matching(names, address.url)}
    # A name with the suffix of an image is not asked about, which takes a while for each of a long list.
    if address.suffix.lower() not in IMAGE_SUFFIXES + VIDEO_SUFFIXES and address.is_folder():
        names = [name for name in address.files() if not any(part.startswith(".") for part in name.split("/")[:-1])]
        inside = [PurePosixPath(name) for name in names if _is_wanted(PurePosixPath(name), skipped)]
        return {address / each.as_posix(): each for each in _some(inside, address.url)}
    return {address: PurePosixPath(PurePosixPath(address.url).name)}


def _walk(folder: Path, out: Path | None) -> Iterable[Path]:
    for parent, folders, files in os.walk(folder):
        if Path(parent).resolve() == out:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent) / name for name in sorted(files))


def _is_wanted(path: PurePath, skipped: Counter[str]) -> bool:
    """Whether a file of a folder is an image or a video; it is counted as skipped otherwise."""
    suffix = path.suffix.lower()
    is_wanted = suffix in IMAGE_SUFFIXES + VIDEO_SUFFIXES and not path.name.startswith(".")
    if not is_wanted:
        skipped[suffix or path.name] += 1
    return is_wanted


def _some(inside: Sequence[Found], word: str) -> Sequence[Found]:
    if not inside:
        raise UsageError(f"{word}: it holds no image (of {', '.join(IMAGE_SUFFIXES)}) and no video")
    return inside


def _matching(matches: Sequence[Found], word: str) -> Sequence[Found]:
    if not matches:
        raise UsageError(f"{word}: no file matches")
    return matches


def _without_magic(parts: Sequence[str]) -> list[str]:
    plain: list[str] = []
    for part in parts:
        if glob.has_magic(part):
            break
        plain.append(part)
    return plain


def _named(found: dict[Place, PurePath]) -> tuple[Item, ...]:
    """Name outputs after files without their suffix; files that differ in it alone keep it."""
    stems = Counter(inside.with_suffix("") for inside in found.values())
    items: dict[str, Item] = {}
    for path, inside in found.items():
        name = (inside.with_suffix("") if stems[inside.with_suffix("")] == 1 else inside).as_posix()
        if name in items:
            raise UsageError(f"{items[name].path} and {path} would both be written as {name}; segment them separately")
        items[name] = Item(path, name)
    return tuple(items.values())
