"""Atomic writing: after a crash of the writer, a file has either its old or its new content."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def naming(path: Path) -> Iterator[Path]:
    """Yield the path of a file, and name it in an OSError, which lacks the name if a write fails on a full disk.

    Args:
        path: The path of the file that the block writes.
    """
    try:
        yield path
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a draft beside a file. At the end, the draft replaces the file; after an error, it is removed.

    This is for writers that need a path or a stream; `write_atomically` is for the rest. Missing parent folders are
    created. If several processes write the same file at once, each has its own draft, and the last one to finish wins.

    Args:
        path: The path of the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid4().hex[:8]}.draft")
    try:
        with naming(path):
            yield draft
            os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file completely or not at all.

    Args:
        path: The path of the file. Missing parent folders are created.
        content: The text, which is written as UTF-8, or the bytes.

    Raises:
        OSError: The file cannot be written. An existing file is unchanged.
    """
    with replacing(path) as draft:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
