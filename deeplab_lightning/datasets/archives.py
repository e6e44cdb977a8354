"""Unpack archives safely: no member leaves the folder, the output is bounded, and a damaged archive changes nothing.

`shutil.unpack_archive(filter="data")` is not enough. It has no filter for zip files and silently skips the members that
would leave the folder. It does not limit the size of the output. It takes a damaged header inside a tar file for the
end of the file. Here tarfile and zipfile unpack, and this module checks the rest before each member is written.
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
"""Errors that a damaged archive raises; a RuntimeError means that it is encrypted or of an unknown kind."""


def unpack(
    path: Path,
    wanted: list[tuple[str, str]],
    root: Path,
    max_bytes: int,
    finish: Callable[[Path], None] | None = None,
) -> None:
    """Unpack folders of an archive; they get their final names after the whole archive is read and its checksums hold.

    Args:
        path: Tar or zip archive.
        wanted: Pairs of a folder in the archive and its final name under `root`.
        root: Folder that the wanted folders are written to.
        max_bytes: Largest total size of the unpacked members, in bytes.
        finish: Function that is called with each folder before the folder gets its final name.

    Raises:
        DataError: The archive is damaged or too large, a member would leave the folder, or the archive does not hold a
            wanted folder.
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
        if isinstance(error, OSError) and error.errno is not None:  # damage makes gzip and bz2 raise one without errno
            raise DataError(f"{path.name} cannot be unpacked ({error.strerror})", root) from error
        raise DataError(f"cannot be unpacked ({error}); remove it and fetch it again", path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class _Bounds:
    """The number of members and bytes that may still be unpacked.

    Args:
        path: Archive that the error messages name.
        max_bytes: Largest total size of the unpacked members, in bytes.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path, self.members, self.bytes = path, MAX_MEMBERS, max_bytes

    def admit(self, name: str, size: int) -> None:
        """Count one member in.

        Raises:
            DataError: The archive has too many members or is too large, or the member's name leads out of the folder.
        """
        self.members -= 1
        self.bytes -= max(0, size)
        pure = PurePosixPath(name)
        if self.members < 0:
            raise DataError(f"it has more than {MAX_MEMBERS} members; nothing was kept", self.path)
        if pure.is_absolute() or ".." in pure.parts or "\0" in name:
            raise DataError(f"its member {name!r} would leave the folder; nothing was kept", self.path)
        if self.bytes < 0:
            raise DataError("its contents are far larger than expected; nothing was kept", self.path)


def _unpack_all(path: Path, folder: Path, bounds: _Bounds) -> None:
    """Unpack every member into a folder, and read the archive to its end.

    Raises:
        DataError: A member exceeds the bounds, or is a link or a device.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                bounds.admit(entry.filename, entry.file_size)  # zipfile never unpacks more than this declared size
            archive.extractall(folder)
        return

    def admit(member: tarfile.TarInfo, destination: str) -> tarfile.TarInfo:
        bounds.admit(member.name, member.size)
        if not (member.isfile() or member.isdir()):
            raise DataError(f"its member {member.name!r} is a link or a device; nothing was kept", path)
        return tarfile.data_filter(member, destination)

    with tarfile.open(path) as tar:
        tar.extractall(folder, filter=admit)
        _check_end(tar)


def _check_end(tar: tarfile.TarFile) -> None:
    """Read the file behind the last member: tarfile takes a damaged header for the end and does not read checksums."""
    stream = tar.fileobj
    assert stream is not None, "an open archive has a file"
    stream.seek(tar.offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"it is damaged or cut off at {tar.offset} bytes")
    while stream.read(CHUNK):
        pass
