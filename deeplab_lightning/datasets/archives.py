"""Unpack archives: nothing leaves its folder, nothing grows without bound, nothing damaged takes its place."""

import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp
from typing import IO

from deeplab_lightning.datasets.images import DataError

CHUNK = 1 << 20
MAX_MEMBERS = 1_000_000
"""Files and folders in one archive; COCO's largest has 118,287."""
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, LZMAError, RuntimeError)
"""What the readers raise of a damaged archive; a RuntimeError of one that is encrypted or of an unknown kind."""


def unpack(
    path: Path,
    wanted: list[tuple[str, str]],
    root: Path,
    max_bytes: int,
    finish: Callable[[Path], None] | None = None,
) -> None:
    """Unpack folders of an archive, each to its final name only once all of the archive is read and its checksums hold.

    Args:
        path: a tar or zip archive.
        wanted: pairs of a folder in the archive and its final name under `root`.
        root: where to.
        max_bytes: that may come out of it.
        finish: is given each folder before it takes its name.

    Raises:
        DataError: the archive is damaged or larger than it may be, a member would leave the folder, or a wanted folder
            is not in it.
    """
    temporary = Path(mkdtemp(prefix=f".{path.name}.", dir=root))
    try:
        for name, source in _members(path):
            pure = PurePosixPath(name)
            if pure.is_absolute() or ".." in pure.parts or "\0" in name:
                raise DataError(f"{path}: its member {name!r} would leave the folder; nothing of it was kept")
            target = temporary / pure
            target.parent.mkdir(parents=True, exist_ok=True)
            with source, target.open("wb") as file:
                while block := source.read(CHUNK):
                    if (max_bytes := max_bytes - len(block)) < 0:
                        raise DataError(f"{path}: far more comes out of it than should; nothing of it was kept")
                    file.write(block)
        for inside, target_name in wanted:
            if not (temporary / inside).is_dir():
                raise DataError(f"{path}: it holds no folder {inside}")
            if finish is not None:
                finish(temporary / inside)
            (root / target_name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary / inside, root / target_name)
    except (*DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # without, it is gzip's or bz2's of damaged content
            raise DataError(f"{root}: {path.name} cannot be unpacked ({error.strerror})") from error
        raise DataError(f"{path}: cannot be unpacked ({error}); remove it and fetch it again") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of each file of an archive; at the end all of it is read.

    Raises:
        DataError: it has too many members, or one is a link or a device.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            _check_number(len(archive.infolist()), path)
            for entry in archive.infolist():
                if not entry.is_dir():
                    yield entry.filename, archive.open(entry)
        return
    with tarfile.open(path) as tar:
        for number, member in enumerate(tar, 1):
            _check_number(number, path)
            if member.isdir():
                continue
            opened = tar.extractfile(member) if member.isfile() else None
            if opened is None:
                raise DataError(f"{path}: its member {member.name!r} is a link or a device; nothing of it was kept")
            yield member.name, opened
        _check_end(tar)


def _check_number(number: int, path: Path) -> None:
    if number > MAX_MEMBERS:
        raise DataError(f"{path}: it has more than {MAX_MEMBERS} members; nothing of it was kept")


def _check_end(tar: tarfile.TarFile) -> None:
    """Read what is behind the last member: tarfile takes a damaged header for the end, and leaves checksums unread."""
    stream = tar.fileobj
    assert stream is not None, "an open archive has a file"
    stream.seek(tar.offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"it is damaged or cut off at {tar.offset} bytes")
    while stream.read(CHUNK):
        pass
