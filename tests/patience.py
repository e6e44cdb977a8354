"""Waiting for other processes: for so long that no machine is too slow, and yet not for ever."""

import time
from collections.abc import Callable

PATIENCE = 1200  # seconds


def wait_until(event: Callable[[], bool], log: Callable[[], str] = str) -> None:
    """Return once the event is there; what the log says comes with the failure."""
    deadline = time.monotonic() + PATIENCE
    while not event():
        assert time.monotonic() < deadline, log()
        time.sleep(0.02)
