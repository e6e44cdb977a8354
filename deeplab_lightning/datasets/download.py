"""Downloads that can be interrupted: each is resumed, verified, and gets its final name when it is complete."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from deeplab_lightning.datasets.archives import CHUNK
from deeplab_lightning.datasets.images import DataError

ATTEMPTS = 3


@dataclass(frozen=True)
class Checksum:
    """A published checksum of a file.

    Args:
        algorithm: Name of the hash function: "md5", "sha1" or "sha256".
        digest: Hexadecimal digits; the first ones are enough if no more are published.
    """

    algorithm: str
    digest: str

    def fault(self, path: Path) -> str | None:
        """Return what is wrong with a file, or None if it has this checksum."""
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.new(self.algorithm, usedforsecurity=False)).hexdigest()
        if found.startswith(self.digest):
            return None
        begins = "begins with" if len(self.digest) < len(found) else "is"
        return f"{self.algorithm.upper()} is {found}, but the published one {begins} {self.digest}"


def download(urls: Sequence[str], path: Path, checksum: Checksum | None = None, contents: int = 0) -> None:
    """Fetch a file from the first address that serves it completely and with the right checksum.

    An interrupted download continues after the bytes in the file with the additional ending `.part`. A file that
    already exists is verified.

    Args:
        urls: Addresses, in the order in which they are tried.
        path: Final path of the file. Its folder exists.
        checksum: Published checksum; None if there is none.
        contents: Number of bytes that will be unpacked from the file, for which the disk must have room too.

    Raises:
        DataError: No address serves the file, the disk is too small, or the file exists with a wrong checksum.
    """
    part = path.with_name(f"{path.name}.part")
    if path.exists():
        if checksum is not None and (fault := checksum.fault(path)):
            raise DataError(f"its {fault}; remove it and it is fetched again", path)
        return
    reasons: list[str] = []
    for url in urls:
        for _ in range(ATTEMPTS):
            try:
                _fetch(url, part, contents)
            except (HTTPException, OSError) as error:
                reasons.append(f"{url}: {error}")
                if isinstance(error, HTTPError):
                    break
                continue
            if checksum is not None and (fault := checksum.fault(part)):
                part.unlink()
                reasons.append(f"{url}: the {fault}")
                break
            os.replace(part, path)
            return
    raise DataError(f"{path.name} cannot be fetched: {'; '.join(dict.fromkeys(reasons))}")


def _fetch(url: str, part: Path, contents: int) -> None:
    """Download into `part`, after the bytes that an earlier attempt left there.

    Raises:
        OSError: The connection breaks; the bytes received so far stay in `part`.
        DataError: The disk is too small.
    """
    start = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urlopen(request, timeout=60)
    except HTTPError as error:
        if error.code == 416 and start:  # `part` is complete; the checksum is verified by the caller
            return
        raise
    with response:
        start = start if response.status == 206 else 0
        length = int(response.headers.get("Content-Length", 0))
        _check_disk(part.parent, length + contents, part.name.removesuffix(".part"))
        with part.open("ab" if start else "wb") as file, _progress() as progress:
            task = progress.add_task(part.name.removesuffix(".part"), total=start + length, completed=start)
            while block := response.read(CHUNK):
                file.write(block)
                progress.advance(task, len(block))
        if length and part.stat().st_size < start + length:
            raise OSError(f"the connection broke off after {part.stat().st_size} of {start + length} bytes")


def _check_disk(folder: Path, needed: int, name: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        fault = f"{name} and its contents need {needed / 1e9:.2f} GB, but only {free / 1e9:.2f} GB are free"
        raise DataError(fault, folder)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), transient=True
    )
