"""Files at fsspec addresses, such as s3://bucket/key: fetched before they are read, delivered after they are written.

Paths on a disk pass through as they are, so that what reads and writes files knows paths alone.
"""

import glob
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from deeplab_lightning.usage import UsageError

SCHEME, FILE = "://", "file"


@dataclass(frozen=True)
class Address:
    """The address of a file, or of a folder of files, that is not reached by a path.

    Every error is an OSError that names the address, but for a protocol that is unknown or lacks its package: that is a
    UsageError.

    Args:
        url: The protocol and what it names, such as memory://pictures/street.jpg.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def suffix(self) -> str:
        """The suffix of the file's name, with its dot."""
        return PurePosixPath(self.url).suffix

    def __truediv__(self, inside: str) -> "Address":
        return Address(f"{self.url.rstrip('/')}/{inside}")

    def get(self, path: Path) -> None:
        """Copy the file to a path."""
        with self._reached() as (files, inside):
            files.get_file(inside, str(path))

    def put(self, path: Path) -> None:
        """Copy the file at a path here."""
        with self._reached() as (files, inside):
            files.put_file(str(path), inside)

    def replace(self, path: Path) -> None:
        """Copy the file at a path here, so that readers find the old file or the whole new one."""
        with self._reached() as (files, inside):
            draft = f"{inside}.{uuid.uuid4().hex[:8]}.draft"
            files.makedirs(_folder_of(inside), exist_ok=True)
            files.put_file(str(path), draft)
            files.mv(draft, inside)

    def read_text(self) -> str:
        """Return the text of a small file."""
        with self._reached() as (files, inside):
            return str(files.cat_file(inside).decode(errors="replace"))

    def write_text(self, text: str) -> None:
        """Write a small file, which a reader may find empty meanwhile."""
        with self._reached() as (files, inside):
            files.makedirs(_folder_of(inside), exist_ok=True)
            files.pipe_file(inside, text.encode())

    def remove(self) -> None:
        """Remove the file, if it is there."""
        with suppress(FileNotFoundError), self._reached() as (files, inside):
            files.rm_file(inside)

    def is_file(self) -> bool:
        """Whether there is a file at the address."""
        with self._reached() as (files, inside):
            return bool(files.isfile(inside))

    def is_folder(self) -> bool:
        """Whether there are files below the address."""
        with self._reached() as (files, inside):
            return bool(files.isdir(inside))

    def files(self) -> list[str]:
        """Return the paths of all files below, relative to the address, in order."""
        with self._reached() as (files, inside):
            return _relative(files.find(inside), inside) if files.exists(inside) else []

    def matches(self) -> tuple["Address", list[str]]:
        """Return the folder before the first part with * or ?, and the paths of the matching files relative to it."""
        parts = self.url.split("/")
        plain = next(number for number, part in enumerate(parts) if glob.has_magic(part))
        folder = Address("/".join(parts[:plain]))
        with folder._reached() as (files, inside):
            pattern = "/".join([inside.rstrip("/"), *parts[plain:]])
            return folder, _relative([name for name in files.glob(pattern) if files.isfile(name)], inside)

    @contextmanager
    def _reached(self) -> Iterator[tuple[Any, str]]:
        """Yield the file system and the path within it, with what it has cached of the past forgotten."""
        from fsspec.core import url_to_fs

        try:
            files, inside = url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise UsageError(f"{self.url}: this address cannot be reached ({_line(error)})") from error
        try:
            files.invalidate_cache()
            yield files, inside
        except Exception as error:  # the clients of the protocols have no common class of error
            kinds = (PermissionError, FileNotFoundError)
            kind = next((each for each in kinds if isinstance(error, each)), OSError)
            raise kind(f"{self.url}: {_line(error)}") from error


Place = Path | Address
"""Where a file or a folder is."""


def located(word: str) -> Place:
    """Return the path or the address that a word means; file:// is a path."""
    protocol, scheme, rest = word.partition(SCHEME)
    if not scheme or not protocol.replace("+", "").isalnum():
        return Path(word)
    return Path(rest) if protocol == FILE else Address(word)


def address_of(word: str) -> Address:
    """Return the address that a word means; a path becomes its file:// address."""
    place = located(word)
    return Address(f"{FILE}{SCHEME}{place.resolve()}") if isinstance(place, Path) else place


@contextmanager
def fetched(place: Place) -> Iterator[Path]:
    """Yield the path of a file: its own, or that of a copy which is removed at the end.

    Raises:
        OSError: The file cannot be fetched.
        UsageError: Its protocol is unknown or lacks its package.
    """
    if isinstance(place, Path):
        yield place
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"fetched{place.suffix}"
        place.get(path)
        yield path


@contextmanager
def delivering(folder: Place) -> Iterator[Path]:
    """Yield a folder to write files into: the folder itself, or one whose files are uploaded at the end.

    Raises:
        OSError: A file cannot be uploaded.
        UsageError: The protocol is unknown or lacks its package.
    """
    if isinstance(folder, Path):
        yield folder
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
        for path in sorted(Path(name).rglob("*")):
            if path.is_file():
                (folder / path.relative_to(name).as_posix()).put(path)


def _relative(names: list[str], folder: str) -> list[str]:
    return sorted(name[len(folder.rstrip("/")) :].lstrip("/") for name in names)


def _folder_of(inside: str) -> str:
    return inside.rpartition("/")[0]


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
