"""Faults of a data set: the first ends its construction, unless all of them are collected."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from deeplab_lightning.datasets.images import DataError


class NoSuchSplitError(DataError):
    """A split that the data set does not have."""


@dataclass(frozen=True)
class Fault:
    """One fault, as a sentence, and the file that has it."""

    file: str
    fault: str


_collected: ContextVar[list[Fault] | None] = ContextVar("collected", default=None)


@contextmanager
def collecting() -> Iterator[list[Fault]]:
    """Within it, data sets are built from what is there: `refuse` adds to the list that this gives, and returns."""
    faults: list[Fault] = []
    token = _collected.set(faults)
    try:
        yield faults
    finally:
        _collected.reset(token)


def refuse(path: Path, fault: str) -> None:
    """Raise a DataError, or note it where faults are collected: the caller then goes on without what is faulty.

    Args:
        path: of the file that has the fault.
        fault: one sentence.
    """
    faults = _collected.get()
    if faults is None:
        raise DataError(fault)
    faults.append(Fault(str(path), fault))
