import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deeplab_lightning.folder_lock import hold, is_at

HOLDER = """
import os, signal, sys
from pathlib import Path
from deeplab_lightning.folder_lock import hold

file = hold(Path(sys.argv[1]))
if not os.fork():  # as a loader worker, which may live on for a while
    print(os.getpid(), flush=True)  # the child says it: by then what a fork runs in it has run
signal.pause()
"""


def test_a_folder_is_held_until_its_process_dies(tmp_path: Path) -> None:
    path = tmp_path / "run" / "lock"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), "some option"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    try:
        with pytest.raises(BlockingIOError) as refused:
            hold(path)
        said = f"{path.parent} is in use by process {process.pid} on {socket.gethostname()} since 20"
        assert str(refused.value).startswith(said)
        assert f"{path} 'some option'" in str(refused.value)
        process.kill()
        process.wait()
        os.kill(child, 0)  # it lives
        with hold(path):
            assert path.read_text().startswith(f"process {os.getpid()} on ")
    finally:
        os.kill(child, signal.SIGKILL)
        process.kill()
        process.communicate()


def test_a_lock_knows_its_place(tmp_path: Path) -> None:
    path = tmp_path / "run" / "lock"
    with hold(path) as file:
        assert is_at(file, path)
        path.parent.rename(tmp_path / "moved")
        assert not is_at(file, path)
        assert is_at(file, tmp_path / "moved" / "lock")
        with hold(path):
            assert not is_at(file, path)


def test_a_file_system_without_locks_gives_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match="No locks available"):
        hold(tmp_path / "lock").close()
