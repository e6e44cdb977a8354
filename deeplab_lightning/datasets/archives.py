"""Unpack archives: nothing leaves its folder, nothing grows without bound, nothing damaged takes its place.

`shutil.unpack_archive(filter="data")` would not do: it has no filter for a zip, of which it silently leaves out what
would leave the folder; it puts no bound on what comes out; and it takes a damaged header within a tar for its end. Here
tarfile and zipfile do the unpacking, and what they do not check is checked member by member before it is written.
"""

import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp

from deeplab_lightning.datasets.images import DataError

CHUNK = 1 << 20
MAX_MEMBERS = 1_000_000
"""Files and folders that one archive may have; COCO's largest has 118,287."""
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, LZMAError, RuntimeError)
"""Errors that a damaged archive raises; a RuntimeError is of one that is encrypted or of an unknown kind."""


def unpack(
    path: Path,
    wanted: list[tuple[str, str]],
    root: Path,
    max_bytes: int,
    finish: Callable[[Path], None] | None = None,
) -> None:
    """Unpack folders of an archive, each to its final name only once all of the archive is read and its checksums hold.

    Args:
        path: Tar or zip archive.
        wanted: Pairs of a folder in the archive and its final name under `root`.
        root: Folder that the wanted folders go to.
        max_bytes: Bytes that may come out of the archive.
        finish: Function that is given each folder before it takes its name.

    Raises:
        DataError: The archive is damaged or larger than it may be, a member would leave the folder, or a wanted folder
            is not in it.
    """
    temporary = Path(mkdtemp(prefix=f".{path.name}.", dir=root))
    try:
        _unpack_all(path, temporary, _Bounds(path, max_bytes))
        for inside, target_name in wanted:
            if not (temporary / inside).is_dir():
                raise DataError(f"it holds no folder {inside}", path)
            if finish is not None:
                finish(temporary / inside)
            (root / target_name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary / inside, root / target_name)
    except (*DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # gzip and bz2 raise one without for damage
            raise DataError(f"{path.name} cannot be unpacked ({error.strerror})", root) from error
        raise DataError(f"cannot be unpacked ({error}); remove it and fetch it again", path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class _Bounds:
    """The members and bytes that an archive may still have.

    Args:
        path: The archive, for the error message.
        max_bytes: Bytes that may come out of it.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path, self.members, self.bytes = path, MAX_MEMBERS, max_bytes

    def admit(self, name: str, size: int) -> None:
        """Count one member in.

        Raises:
            DataError: There are too many, it is too large, or its name leads out of the folder.
        """
        self.members -= 1
        self.bytes -= max(0, size)
        pure = PurePosixPath(name)
        if self.members < 0:
            raise DataError(f"it has more than {MAX_MEMBERS} members; nothing of it was kept", self.path)
        if pure.is_absolute() or ".." in pure.parts or "\0" in name:
            raise DataError(f"its member {name!r} would leave the folder; nothing of it was kept", self.path)
        if self.bytes < 0:
            raise DataError("far more comes out of it than should; nothing of it was kept", self.path)


def _unpack_all(path: Path, folder: Path, bounds: _Bounds) -> None:
    """Unpack every member into a folder; at the end all of the archive is read.

    Raises:
        DataError: A member is beyond the bounds, or is a link or a device.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                bounds.admit(entry.filename, entry.file_size)  # zipfile reads no more of a member than it declares
            archive.extractall(folder)
        return

    def admit(member: tarfile.TarInfo, destination: str) -> tarfile.TarInfo:
        bounds.admit(member.name, member.size)
        if not (member.isfile() or member.isdir()):
            raise DataError(f"its member {member.name!r} is a link or a device; nothing of it was kept", path)
        return tarfile.data_filter(member, destination)

    with tarfile.open(path) as tar:
        tar.extractall(folder, filter=admit)
        _check_end(tar)


def _check_end(tar: tarfile.TarFile) -> None:
    """Read what is behind the last member: tarfile takes a damaged header for the end, and leaves checksums unread."""
    stream = tar.fileobj
    assert stream is not None, "an open archive has a file"
    stream.seek(tar.offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"it is damaged or cut off at {tar.offset} bytes")
    while stream.read(CHUNK):
        pass
