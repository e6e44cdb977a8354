"""Waiting for other processes: for so long that no machine is too slow, and yet not for ever."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

PATIENCE = 1200  # seconds


def wait_until(event: Callable[[], bool], log: Callable[[], str] = str) -> None:
    """Return once the event is there; what the log says comes with the failure."""
    deadline = time.monotonic() + PATIENCE
    while not event():
        assert time.monotonic() < deadline, log()
        time.sleep(0.02)


def printed_until_all_have_ended(program: str) -> str:
    """What a Python program prints, which ends when the last process does that it started and that can print."""
    command = [sys.executable, "-c", program]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    with process:
        try:
            return process.communicate(timeout=PATIENCE)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
