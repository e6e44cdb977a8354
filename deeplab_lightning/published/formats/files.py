"""Memory-mapped files, and the one error for damaged or foreign ones."""

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

Bytes = memoryview
"""A part of a file, which is read from disk when it is used."""

DAMAGE = (struct.error, IndexError, OverflowError, UnicodeDecodeError, ValueError)
"""The errors that arise when the bytes of a damaged file are misinterpreted."""


class FormatError(ValueError):
    """A fault in a file of weights, as one sentence."""


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn every error in reading a file into a `FormatError` that names the file.

    Args:
        path: The file.
        kind: The expected kind of file, for example "TensorFlow checkpoint".

    Raises:
        FormatError: The file is damaged or of another kind.
        OSError: The file cannot be opened.
    """
    try:
        yield
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    except DAMAGE as error:
        raise FormatError(f"{path}: it is no {kind}, or a damaged one") from error


def open_bytes(path: Path) -> Bytes:
    """Map the content of a file into memory; the system reads pages when they are used, and may drop them again.

    Raises:
        FormatError: The file is empty.
        OSError: The file cannot be opened.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise FormatError("it is empty")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def part(content: Bytes, offset: int, size: int) -> Bytes:
    """Return a part of a content.

    Raises:
        FormatError: The content ends before the end of the part.
    """
    if offset < 0 or size < 0 or offset + size > len(content):
        raise FormatError(f"it is cut short: it should have {size} bytes at {offset}, but has {len(content)} in all")
    return content[offset : offset + size]
