import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deeplab_lightning.callbacks.lock_run import LockRun, refuse_to_replace
from deeplab_lightning.folder_lock import LostFolderError


def trainer_in(folder: Path, world_size: int = 1, is_global_zero: bool = True) -> Any:
    """A stand-in for a trainer whose processes were started elsewhere and receive broadcasts of rank zero."""
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


def test_one_training_at_a_time_in_a_folder(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path)
    with LockRun().held(trainer, None):
        with (
            pytest.raises(ValueError, match=f"{tmp_path} .*{os.getpid()}"),
            LockRun().held(trainer, None),
        ):
            pass
        other = LockRun()
        with other.held(trainer_in(tmp_path, world_size=2), None), pytest.raises(ValueError, match=str(os.getpid())):
            other.setup(trainer, None, "fit")  # type: ignore[arg-type]  # where the other processes hear of it
        with LockRun().held(trainer_in(tmp_path, world_size=2, is_global_zero=False), None):
            pass
    with LockRun().held(trainer, None):
        pass


def test_a_folder_that_goes_away_ends_its_training(tmp_path: Path) -> None:
    folder, moved = tmp_path / "run", tmp_path / "moved"
    trainer, callback = trainer_in(folder), LockRun()

    def check() -> None:
        callback.on_train_batch_start(trainer, None, {}, 0)  # type: ignore[arg-type]

    with callback.held(trainer, None):
        check()
        (folder / ".fit.lock").unlink()
        check()  # it takes the lock again
        with pytest.raises(ValueError, match=str(os.getpid())), LockRun().held(trainer, None):
            pass
        folder.rename(moved)
        with pytest.raises(LostFolderError, match=f"{folder} was moved or deleted"):
            check()
        assert not folder.exists()
        with LockRun().held(trainer, None), pytest.raises(LostFolderError, match=f"{folder} is in use by"):
            check()


def test_a_training_replaces_no_checkpoint_of_another(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "one", tmp_path / "two"
    for run in (folder, elsewhere):
        run.mkdir()
        (run / "last.ckpt").touch()
    refuse_to_replace(folder, "last")
    refuse_to_replace(folder, str(folder / "last.ckpt"))
    refuse_to_replace(tmp_path, None)
    for checkpoint in (None, str(elsewhere / "last.ckpt")):
        with pytest.raises(ValueError, match=rf"{folder} holds last\.ckpt"):
            refuse_to_replace(folder, checkpoint)


def test_drafts_of_a_killed_training_are_removed(tmp_path: Path) -> None:
    for name in ("last.ckpt", ".last.ckpt.a1.draft"):
        (tmp_path / name).touch()
    with LockRun().held(trainer_in(tmp_path), "last"):
        assert set(os.listdir(tmp_path)) == {"last.ckpt", ".fit.lock"}
