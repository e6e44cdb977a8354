"""Faults of a data set. The first one ends its construction, unless faults are collected."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from deeplab_lightning.datasets.images import DataError


class NoSuchSplitError(DataError):
    """A split that the data set does not have."""


@dataclass(frozen=True)
class Fault:
    """One fault of a data set.

    Args:
        file: Path of the faulty file or folder; empty where no single file is at fault.
        fault: Sentence that names the file and its fault.
    """

    file: str
    fault: str

    @classmethod
    def of(cls, error: DataError) -> Self:
        """The fault that an error carries."""
        return cls("" if error.path is None else str(error.path), str(error))


_collected: ContextVar[list[Fault] | None] = ContextVar("collected", default=None)


@contextmanager
def collecting() -> Iterator[list[Fault]]:
    """Collect faults instead of raising them: within the block, `refuse` appends to the yielded list and returns."""
    faults: list[Fault] = []
    token = _collected.set(faults)
    try:
        yield faults
    finally:
        _collected.reset(token)


def refuse(fault: str, path: Path, line: int | None = None) -> None:
    """Raise a DataError; where faults are collected, append it instead, and the caller goes on without the faulty item.

    Args:
        fault: Sentence about the fault, without the path.
        path: Faulty file or folder.
        line: Number of the faulty line.

    Raises:
        DataError: Faults are not collected.
    """
    error = DataError(fault, path, line)
    faults = _collected.get()
    if faults is None:
        raise error
    faults.append(Fault.of(error))
