"""Folders that one process at a time writes to."""

import fcntl
import os
import shlex
import socket
import sys
import warnings
from datetime import datetime
from pathlib import Path
from typing import IO


def hold(path: Path) -> IO[str]:
    """Hold a lock file until the returned file is closed, or the process ends in whatever way.

    A process that this one forks does not hold it; one that it starts with the file's descriptor does. On a file system
    that has no locks, a warning says so and nothing is held.

    Args:
        path: The lock file, whose text names its holder; folders above it are made.

    Raises:
        BlockingIOError: Another process holds it; the message says which.
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
            f"{path.parent}: this file system has no locks ({error.strerror}), so nothing keeps a second process from "
            "writing there too",
            stacklevel=2,
        )
    file.truncate(0)  # only now: until the lock is held, the text is another holder's
    file.write(_this_process())
    file.flush()
    os.register_at_fork(after_in_child=file.close)  # a loader worker that outlives its parent would hold it on
    return file


def _this_process() -> str:
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    return f"process {os.getpid()} on {socket.gethostname()} since {since}: {command}"
