"""Files that are read where they lie, and the one error for what is damaged or foreign in them."""

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

Bytes = memoryview
"""A part of a file, which stays on disk until it is looked at."""

DAMAGE = (struct.error, IndexError, OverflowError, UnicodeDecodeError, ValueError)
"""The errors that arise when the bytes of a damaged file are taken for what they are not."""


class FormatError(ValueError):
    """A fault in a file of weights, as one sentence."""


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Make every fault that the reading of a file meets a `FormatError` with its path.

    Args:
        path: The file.
        kind: The kind of file that it should be, "a TensorFlow checkpoint" for example.

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
    """The content of a file, mapped into memory: pages are read when they are looked at, and given back.

    Raises:
        FormatError: The file is empty.
        OSError: The file cannot be opened.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise FormatError("it is empty")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def part(content: Bytes, offset: int, size: int) -> Bytes:
    """Bytes of a content.

    Raises:
        FormatError: The content ends before them.
    """
    if offset < 0 or size < 0 or offset + size > len(content):
        raise FormatError(f"it is cut short: {size} bytes at {offset} are named, and it has {len(content)}")
    return content[offset : offset + size]
