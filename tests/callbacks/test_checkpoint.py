import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from deeplab_lightning.callbacks.checkpoint import Checkpoint
from deeplab_lightning.callbacks.checkpoint_io import AtomicCheckpointIO
from deeplab_lightning.callbacks.lock_run import LockRun, refuse_to_replace

WRITER = """
import os, resource, signal, sys, torch
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
    os.replace = die

save(1)
for prepare in (in_the_write, before_it_is_on_the_disk, before_it_is_in_place):
    if os.fork() == 0:
        prepare()
        save(2)
        os._exit(0)
    print(os.WTERMSIG(os.wait()[1]))
"""


def trainer_in(folder: Path, world_size: int = 1, is_global_zero: bool = True) -> Any:
    """Stands for a trainer whose processes were started elsewhere, and hear what rank zero says."""
    return SimpleNamespace(
        checkpoint_callback=SimpleNamespace(dirpath=str(folder)),
        is_global_zero=is_global_zero,
        fast_dev_run=False,
        world_size=world_size,
        num_nodes=1,
        strategy=SimpleNamespace(
            cluster_environment=SimpleNamespace(creates_processes_externally=True), broadcast=lambda value: value
        ),
    )


def run_checkpoint(step: int) -> dict[str, Any]:
    """As much of a training's checkpoint as one that goes on asks for."""
    weights = {"network.weight": torch.full((2000,), float(step))}
    parts = dict.fromkeys(("callbacks", "loops", "lr_schedulers", "optimizer_states", "hyper_parameters"), ())
    return {"state_dict": weights, "global_step": step, "epoch": 0, "pytorch-lightning_version": "2.6.6", **parts}


def flip(path: Path) -> None:
    """Flip a bit in the middle of a file, as a disk may; of this name alone, where the file has others."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)


def test_kills_during_the_write_leave_a_whole_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run" / "last.ckpt"
    killed = subprocess.run([sys.executable, "-c", WRITER, str(path)], capture_output=True, text=True, check=True)
    assert [int(line) for line in killed.stdout.split()] == [signal.SIGXFSZ, signal.SIGKILL, signal.SIGKILL]
    saved = torch.load(path, weights_only=True)
    assert saved["number"] == 1
    assert bool((saved["weights"] == 1).all())
    assert len(os.listdir(path.parent)) > 1
    with LockRun().held(trainer_in(path.parent), "last"):
        assert set(os.listdir(path.parent)) == {"last.ckpt", ".fit.lock"}  # what the kills left behind is gone


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


def test_the_last_checkpoint_but_one_stays_until_the_training_is_through(tmp_path: Path) -> None:
    """Also when a kill strikes between its second name and the new file."""
    last, previous = tmp_path / "last.ckpt", tmp_path / "previous.ckpt"
    for step in (1, 2, 3):
        AtomicCheckpointIO().save_checkpoint({"step": step}, last)
    assert torch.load(previous)["step"] == 2
    previous.unlink()
    os.link(last, previous)
    AtomicCheckpointIO().save_checkpoint({"step": 4}, last)
    assert (torch.load(previous)["step"], torch.load(last)["step"]) == (3, 4)
    callback = Checkpoint(str(tmp_path))
    callback._saved_step = 4
    callback.on_train_end(SimpleNamespace(global_step=4, fast_dev_run=False, is_global_zero=True), None)  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == ["last.ckpt"]


def test_what_the_disk_does_not_give_back_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"number": 1}, path)

    def lose(descriptor: int) -> None:
        os.pwrite(descriptor, b"?", os.fstat(descriptor).st_size // 2)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lose)
        with pytest.raises(OSError, match="what the disk gives back is not what was written.*the one before is kept"):
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
    with pytest.warns(UserWarning, match="last.ckpt: .*damaged.* the training goes on from .*previous.ckpt of step 2"):
        assert resumed.load_checkpoint(last)["global_step"] == 2
    flip(previous)
    with pytest.warns(UserWarning, match="last.ckpt: .*damaged.* the training goes on from .*best.ckpt of step 1"):
        assert resumed.load_checkpoint(last)["global_step"] == 1
    with pytest.raises(ValueError, match="last.ckpt: .*damaged"):
        AtomicCheckpointIO().load_checkpoint(last)  # what is scored is what was asked for
    flip(best)
    with pytest.raises(ValueError, match="last.ckpt: .*damaged"):
        resumed.load_checkpoint(last)


@pytest.mark.parametrize("part", [key for key in run_checkpoint(0) if key != "state_dict"])
def test_a_checkpoint_that_lacks_a_part_is_refused(tmp_path: Path, part: str) -> None:
    path = tmp_path / "some.ckpt"
    torch.save({key: value for key, value in run_checkpoint(1).items() if key != part}, path)
    with pytest.raises(ValueError, match=f"some.ckpt: it is not a checkpoint of `deeplab fit`, for it has no {part}"):
        AtomicCheckpointIO(resumes=True).load_checkpoint(path)


def test_the_best_score_moves_with_its_folder(tmp_path: Path) -> None:
    state = {"best_model_score": torch.tensor(0.9), "best_model_path": "/elsewhere/best.ckpt", "dirpath": "/elsewhere"}
    callback = Checkpoint(str(tmp_path))
    callback.load_state_dict(state)
    assert callback.best_model_score is None  # its checkpoint did not come along
    (tmp_path / "best.ckpt").touch()
    callback.load_state_dict(state)
    assert callback.best_model_path == str(tmp_path / "best.ckpt")
    trainer = SimpleNamespace(strategy=SimpleNamespace(reduce_boolean_decision=bool))
    assert not callback.check_monitor_top_k(trainer, torch.tensor(0.8))  # type: ignore[arg-type]
    assert callback.check_monitor_top_k(trainer, torch.tensor(0.95))  # type: ignore[arg-type]
    assert str(tmp_path) not in str(callback.state_dict())
    Checkpoint(str(tmp_path)).load_state_dict(callback.state_dict())


def test_weights_that_are_not_finite_are_neither_scored_nor_saved(tmp_path: Path) -> None:
    module = torch.nn.BatchNorm1d(2)
    callback = Checkpoint(str(tmp_path))
    fitting: Any = SimpleNamespace(state=SimpleNamespace(fn="fit"), world_size=1, global_step=7)
    callback.on_validation_start(fitting, module)  # type: ignore[arg-type]
    module.running_var[1] = float("inf")  # type: ignore[index]
    for act in (callback.on_validation_start, callback._save):
        with pytest.raises(FloatingPointError, match="after step 7 .* not finite .running_var.*Lower model.lr"):
            act(fitting, module)  # type: ignore[arg-type]


def test_one_training_at_a_time_in_a_folder(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path)
    with LockRun().held(trainer, None):
        with (
            pytest.raises(ValueError, match=f"{tmp_path} is in use by process {os.getpid()} on"),
            LockRun().held(trainer, None),
        ):
            pass
        other = LockRun()
        with other.held(trainer_in(tmp_path, world_size=2), None), pytest.raises(ValueError, match="is in use by"):
            other.setup(trainer, None, "fit")  # type: ignore[arg-type]  # where the other processes hear of it
        with LockRun().held(trainer_in(tmp_path, world_size=2, is_global_zero=False), None):
            pass
    with LockRun().held(trainer, None):
        pass


def test_a_training_replaces_no_checkpoint_of_another(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "one", tmp_path / "two"
    for run in (folder, elsewhere):
        run.mkdir()
        (run / "last.ckpt").touch()
    refuse_to_replace(folder, "last")
    refuse_to_replace(folder, str(folder / "last.ckpt"))
    refuse_to_replace(tmp_path, None)
    for checkpoint in (None, str(elsewhere / "last.ckpt")):
        with pytest.raises(ValueError, match=f"{folder} holds last.ckpt of an earlier training.*--ckpt_path last"):
            refuse_to_replace(folder, checkpoint)
