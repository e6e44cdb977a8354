"""Checkpoints on the disk: complete after a kill, and replaced by another if damaged."""

import os
import re
import resource
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from deeplab_lightning.callbacks.checkpoint_io import AtomicCheckpointIO
from tests.forked import fork, status_of, text_of


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def in_the_write() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def before_it_is_on_the_disk() -> None:
    os.fsync = die


def before_it_is_in_place() -> None:
    os.replace = die


def run_checkpoint(step: int) -> dict[str, Any]:
    """Return the parts of a checkpoint that a resumed training needs."""
    weights = {"network.weight": torch.full((2000,), float(step))}
    parts = dict.fromkeys(("callbacks", "loops", "lr_schedulers", "optimizer_states", "hyper_parameters"), ())
    return {"state_dict": weights, "global_step": step, "epoch": 0, "pytorch-lightning_version": "2.6.6", **parts}


def flip(path: Path) -> None:
    """Flip a bit in the middle of a file, like a failing disk, without changing its other hard links."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)


def test_kills_during_the_write_leave_a_whole_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run" / "last.ckpt"

    def save(number: int) -> None:
        AtomicCheckpointIO().save_checkpoint({"number": number, "weights": torch.full((500_000,), number)}, path)

    def killed(prepare: Callable[[], None]) -> None:
        prepare()
        save(2)

    save(1)
    prepared = (in_the_write, before_it_is_on_the_disk, before_it_is_in_place)
    logs = [tmp_path / prepare.__name__ for prepare in prepared]
    ends = [status_of(fork(partial(killed, prepare), log)) for prepare, log in zip(prepared, logs, strict=True)]
    assert ends == [-signal.SIGXFSZ, -signal.SIGKILL, -signal.SIGKILL], [text_of(log) for log in logs]
    saved = torch.load(path, weights_only=True)
    assert saved["number"] == 1
    assert bool((saved["weights"] == 1).all())
    left = [name for name in os.listdir(path.parent) if name != "last.ckpt"]
    assert left
    assert all(re.fullmatch(r"\..*\.ckpt\..*\.draft", name) for name in left)  # which `LockRun` knows and removes


def test_a_full_disk_keeps_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"number": 1}, path)
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"last\.ckpt.*1\.9 MiB"):
            AtomicCheckpointIO().save_checkpoint({"number": 2, "weights": torch.zeros(500_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert torch.load(path, weights_only=True) == {"number": 1}
    assert os.listdir(path.parent) == ["last.ckpt"]


def test_a_read_only_folder_keeps_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"number": 1}, path)

    def refuse(self: Path, *_: Any) -> None:
        raise PermissionError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.raises(OSError, match=r"last\.ckpt.*Read-only file system"):
            AtomicCheckpointIO().save_checkpoint({"number": 2}, path)
    assert torch.load(path, weights_only=True) == {"number": 1}


def test_the_previous_checkpoint_is_kept(tmp_path: Path) -> None:
    """Also if the process is killed between linking the old file and renaming the new one."""
    last, previous = tmp_path / "last.ckpt", tmp_path / "previous.ckpt"
    for step in (1, 2, 3):
        AtomicCheckpointIO().save_checkpoint({"step": step}, last)
    assert torch.load(previous)["step"] == 2
    previous.unlink()
    os.link(last, previous)
    AtomicCheckpointIO().save_checkpoint({"step": 4}, last)
    assert (torch.load(previous)["step"], torch.load(last)["step"]) == (3, 4)


def test_a_corrupted_write_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"number": 1}, path)

    def lose(descriptor: int) -> None:
        os.pwrite(descriptor, b"?", os.fstat(descriptor).st_size // 2)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lose)
        with pytest.raises(OSError, match=r"last\.ckpt.*the disk"):
            AtomicCheckpointIO().save_checkpoint({"number": 2, "weights": torch.ones(1000)}, path)
    assert torch.load(path) == {"number": 1}
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_a_damaged_last_checkpoint_falls_back_and_says_so(tmp_path: Path) -> None:
    last, previous, best = (tmp_path / f"{name}.ckpt" for name in ("last", "previous", "best"))
    AtomicCheckpointIO().save_checkpoint(run_checkpoint(1), best)
    for step in (2, 3):
        AtomicCheckpointIO().save_checkpoint(run_checkpoint(step), last)
    resumed = AtomicCheckpointIO(resumes=True)
    assert resumed.load_checkpoint(last)["global_step"] == 3
    flip(last)
    with pytest.warns(UserWarning, match=r"last\.ckpt.*previous\.ckpt of step 2"):
        assert resumed.load_checkpoint(last)["global_step"] == 2
    flip(previous)
    with pytest.warns(UserWarning, match=r"last\.ckpt.*best\.ckpt of step 1"):
        assert resumed.load_checkpoint(last)["global_step"] == 1
    with pytest.raises(ValueError, match=r"last\.ckpt.*damaged"):
        AtomicCheckpointIO().load_checkpoint(last)  # what is scored is what was asked for
    flip(best)
    with pytest.raises(ValueError, match=r"last\.ckpt.*damaged"):
        resumed.load_checkpoint(last)


@pytest.mark.parametrize("part", [key for key in run_checkpoint(0) if key != "state_dict"])
def test_a_checkpoint_that_lacks_a_part_is_refused(tmp_path: Path, part: str) -> None:
    path = tmp_path / "some.ckpt"
    torch.save({key: value for key, value in run_checkpoint(1).items() if key != part}, path)
    with pytest.raises(ValueError, match=rf"some\.ckpt.* {part}"):
        AtomicCheckpointIO(resumes=True).load_checkpoint(path)
