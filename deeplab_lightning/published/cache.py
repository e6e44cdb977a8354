"""The folder of published weights, which users and processes may share: each file is fetched once, under a lock."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deeplab_lightning.datasets.download import Checksum, download
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.folder_lock import hold
from deeplab_lightning.published.entries import Entry

VARIABLE = "DEEPLAB_WEIGHTS"
"""The environment variable that names the folder."""
PAUSE = 0.2  # seconds between two looks at a lock, which not every file system can wait for


def folder() -> Path:
    """The folder of published weights: DEEPLAB_WEIGHTS, or deeplab_lightning in the user's cache (XDG_CACHE_HOME)."""
    if given := os.environ.get(VARIABLE):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "deeplab_lightning" / "weights"


def place(entry: Entry) -> Path:
    """The path of a checkpoint's own file in the folder, whether it is there or not."""
    return folder() / entry.source / entry.file


def fetch(entry: Entry) -> Path:
    """Download a checkpoint's own file unless it is there; several processes may ask for it at once.

    Raises:
        DataError: The file cannot be downloaded, or differs from the published one; the message says where to put it.
    """
    path = place(entry)
    checksum = None if entry.sha256 is None else Checksum("sha256", entry.sha256)
    if path.is_file():
        if checksum is not None and (fault := checksum.fault(path)):
            raise DataError(f"its {fault}; remove it and it is fetched again", path)
        return path
    if entry.url is None:
        raise DataError(f"{entry.name} has no address to download from: get {entry.where}, and put it at {path}")
    with locked(path):
        try:
            download([entry.url], path, checksum)
        except DataError as error:
            ways = f"get the file elsewhere and put it at {path}, or set {VARIABLE} to a folder that has it"
            raise DataError(f"{entry.name}: {error}; {ways}") from error
    return path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, and wait for it if another process makes the file.

    Raises:
        DataError: The folder cannot be written to.
    """
    while True:
        try:
            lock = hold(path.with_name(f".{path.name}.lock"))
            break
        except BlockingIOError:
            time.sleep(PAUSE)
        except OSError as error:
            raise DataError(
                f"cannot be written to ({error.strerror}); set {VARIABLE} to another folder", path.parent
            ) from error
    with lock:
        yield
