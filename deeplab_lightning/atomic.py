"""Files that are either the old one or the new one, whenever the process that writes them ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the path of a draft beside a file; what is in it takes the file's place at the end, and not after an error.

    Folders above it are made. Processes that write one file at once have a draft each.

    Args:
        path: of the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid4().hex[:8]}.draft")
    try:
        yield draft
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all.

    Args:
        path: of the file; folders above it are made.
        content: text, written as UTF-8, or bytes.

    Raises:
        OSError: it cannot be written; the file that was there still is.
    """
    with replacing(path) as draft:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
