"""Files that are either the old one or the new one, whenever the process that writes them ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The path of a draft beside a file; at the end the draft takes the file's place, after an error it is removed.

    It is for writers that need a path or a stream; `write_atomically` is for the rest. Folders above the file are made.
    Processes that write the same file at once have a draft each, and the last one's stays.

    Args:
        path: The file.
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
        path: The file; folders above it are made.
        content: The text, written as UTF-8, or the bytes.

    Raises:
        OSError: The file cannot be written; the one that was there still is.
    """
    with replacing(path) as draft:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
