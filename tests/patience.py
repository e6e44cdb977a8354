"""Waiting for other processes, with a limit that even slow machines do not reach."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

PATIENCE = 1200  # seconds


def wait_until(event: Callable[[], bool], log: Callable[[], str] = str) -> None:
    """Return after the event has happened; a failure shows the text of the log."""
    deadline = time.monotonic() + PATIENCE
    while not event():
        assert time.monotonic() < deadline, log()
        time.sleep(0.02)


def printed_until_all_have_ended(program: str) -> str:
    """The output of a Python program, until the last process that inherited its standard output has ended."""
    command = [sys.executable, "-c", program]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    with process:
        try:
            return process.communicate(timeout=PATIENCE)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
