import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from deeplab_lightning.callbacks.checkpoint import Checkpoint
from deeplab_lightning.callbacks.checkpoint_io import AtomicCheckpointIO

WRITER = """
import sys, torch
from deeplab_lightning.callbacks.checkpoint_io import AtomicCheckpointIO
for number in range(1, 100000):
    AtomicCheckpointIO().save_checkpoint({"number": number, "weights": torch.full((500_000,), number)}, sys.argv[1])
    print(number, flush=True)
"""


def test_kills_during_the_write_leave_a_whole_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run" / "last.ckpt"
    for attempt in range(4):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        reported = int(process.stdout.readline())
        time.sleep(0.013 * attempt)
        process.kill()
        reported = max([reported, *(int(line) for line in process.stdout.read().split("\n")[:-1])])
        process.stdout.close()
        process.wait()
        saved = torch.load(path, weights_only=True)
        assert saved["number"] >= reported
        assert bool((saved["weights"] == saved["number"]).all())
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
