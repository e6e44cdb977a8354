"""Faults of a data set: the first ends its construction, unless all of them are collected."""

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
    """One fault, as it is printed.

    Args:
        file: Path of the file or folder that has the fault; empty where there is no single one.
        fault: The fault as one sentence that names the file.
    """

    file: str
    fault: str

    @classmethod
    def of(cls, error: DataError) -> Self:
        """The fault that an error tells of."""
        return cls("" if error.path is None else str(error.path), str(error))


_collected: ContextVar[list[Fault] | None] = ContextVar("collected", default=None)


@contextmanager
def collecting() -> Iterator[list[Fault]]:
    """Collect faults instead of raising them: `refuse` adds to the list that this gives, and returns."""
    faults: list[Fault] = []
    token = _collected.set(faults)
    try:
        yield faults
    finally:
        _collected.reset(token)


def refuse(fault: str, path: Path, line: int | None = None) -> None:
    """Raise a DataError, or note it where faults are collected: the caller then goes on without what is faulty.

    Args:
        fault: The fault as one sentence, without its place.
        path: File or folder that has the fault.
        line: Line of the file.

    Raises:
        DataError: Faults are not collected.
    """
    error = DataError(fault, path, line)
    faults = _collected.get()
    if faults is None:
        raise error
    faults.append(Fault.of(error))
