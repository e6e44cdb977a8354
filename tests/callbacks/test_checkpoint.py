import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from deeplab_lightning.callbacks.checkpoint import Checkpoint
from deeplab_lightning.callbacks.checkpoint_io import AtomicCheckpointIO

WRITER = """
import os, pathlib, resource, signal, sys, torch
from deeplab_lightning.callbacks.checkpoint_io import AtomicCheckpointIO

def save(number):
    AtomicCheckpointIO().save_checkpoint({"number": number, "weights": torch.full((500_000,), number)}, sys.argv[1])

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def in_the_write():
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

def before_it_is_on_the_disk():
    os.fsync = die

def before_it_is_in_place():
    pathlib.Path.replace = die

save(1)
for prepare in (in_the_write, before_it_is_on_the_disk, before_it_is_in_place):
    if os.fork() == 0:
        prepare()
        save(2)
        os._exit(0)
    print(os.WTERMSIG(os.wait()[1]))
"""


def test_kills_during_the_write_leave_a_whole_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run" / "last.ckpt"
    killed = subprocess.run([sys.executable, "-c", WRITER, str(path)], capture_output=True, text=True, check=True)
    assert [int(line) for line in killed.stdout.split()] == [signal.SIGXFSZ, signal.SIGKILL, signal.SIGKILL]
    saved = torch.load(path, weights_only=True)
    assert saved["number"] == 1
    assert bool((saved["weights"] == 1).all())
    assert len(os.listdir(path.parent)) == 2
    AtomicCheckpointIO().save_checkpoint({"number": 0}, path)
    assert os.listdir(path.parent) == ["last.ckpt"]  # what the kills left behind is gone


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    path = tmp_path / "run" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"number": 1}, path)
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(
            OSError, match=r"last\.ckpt: the checkpoint of 1\.9 MiB cannot be written .*kept\. Make room"
        ):
            AtomicCheckpointIO().save_checkpoint({"number": 2, "weights": torch.zeros(500_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert torch.load(path, weights_only=True) == {"number": 1}
    assert os.listdir(path.parent) == ["last.ckpt"]


def test_a_read_only_folder_keeps_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"number": 1}, path)

    def refuse(self: Path, *_: Any) -> None:
        raise PermissionError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.raises(OSError, match=r"\(Read-only file system\); the one before is kept.*the folder writable"):
            AtomicCheckpointIO().save_checkpoint({"number": 2}, path)
    assert torch.load(path, weights_only=True) == {"number": 1}


@pytest.mark.parametrize("setting", [{"every_n_steps": 0}, {"every_n_minutes": 0.0}])
def test_intervals_that_cannot_be(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be above 0, got"):
        Checkpoint("runs", **setting)
