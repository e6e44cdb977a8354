"""Locks on folders that only one process at a time may write to."""

import fcntl
import os
import shlex
import socket
import sys
import warnings
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO


class LostFolderError(RuntimeError):
    """The folder of a lock was moved, deleted or taken by another process, so nothing more may be written there."""


def hold(path: Path) -> IO[str]:
    """Hold a lock until the returned file is closed or the process ends, even if it is killed.

    Forked children do not hold the lock, but a child process that inherits the file descriptor does. If the file system
    does not support locks, this function only warns.

    Args:
        path: The path of the lock file, whose text names the holder. Missing parent folders are created.

    Raises:
        BlockingIOError: Another process holds the lock. The message names that process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read() or "another process"
        file.close()
        raise BlockingIOError(f"{path.parent} is in use by {holder}") from None
    except OSError as error:
        warnings.warn(
            f"{path.parent}: the file system does not support locks ({error.strerror}), so a second process could "
            "write to the same folder",
            stacklevel=2,
        )
    file.truncate(0)  # not earlier: without the lock, the text belongs to another process
    file.write(_this_process())
    file.flush()
    os.register_at_fork(after_in_child=file.close)  # or a loader worker that outlives its parent would keep the lock
    return file


def is_at(file: IO[str], path: Path) -> bool:
    """Return whether a held lock file still has this path; it has not if its folder was moved or deleted."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def _this_process() -> str:
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    return f"process {os.getpid()} on {socket.gethostname()} since {since}: {command}"
