"""Processes that are forked from this one. A new one would first import torch and Lightning, which takes seconds."""

import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path

import deeplab_lightning.__main__
from tests.patience import PATIENCE


def fork(program: Callable[[], object], log: Path, environment: Mapping[str, str] | None = None) -> ForkProcess:
    """Start a program in a process and a session of its own.

    Args:
        program: A function without arguments; an integer that it returns is the exit status.
        log: The file that gets the standard output. That of the errors is called alike, with the suffix .err.
        environment: Variables of the environment to add.
    """
    process = get_context("fork").Process(target=_run, args=(program, log, environment or {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns that this process has threads
        process.start()
    return process


def fork_deeplab(options: list[str], log: Path, environment: Mapping[str, str] | None = None) -> ForkProcess:
    """Start `python -m deeplab_lightning` with these options; see `fork`."""

    def program() -> int:
        module = deeplab_lightning.__main__
        sys.argv = [str(module.__file__), *options]  # Lightning starts the other ranks by this and the next
        sys.modules["__main__"] = module
        return module.main(options)

    return fork(program, log, environment)


def status_of(process: ForkProcess) -> int:
    """Wait for a process, kill what it leaves running, and return its exit status, -n after a signal n."""
    try:
        process.join(PATIENCE)
    finally:
        kill(process)
    assert process.exitcode is not None
    return process.exitcode


def kill(process: ForkProcess) -> None:
    """Kill all processes of its session."""
    assert process.pid is not None
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.join()


def text_of(log: Path) -> str:
    """All that a process has printed so far."""
    return "".join(path.read_text() for path in (log, log.with_suffix(".err")) if path.exists())


def _run(program: Callable[[], object], log: Path, environment: Mapping[str, str]) -> None:
    os.setsid()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.stdout, sys.stderr = (path.open("w", buffering=1) for path in (log, log.with_suffix(".err")))
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        os.dup2(stream.fileno(), number)
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(sys.stderr)
    status = program()
    sys.exit(status if isinstance(status, int) else 0)
