"""A lock that allows one training at a time in a run folder, and protects the checkpoints of an earlier one."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from lightning import Callback, LightningModule, Trainer

from deeplab_lightning.folder_lock import LostFolderError, hold, is_at
from deeplab_lightning.run_folder import RunFolder


class LockRun(Callback):
    """Locks the folder of the checkpoints during a training; if another run holds it, all processes of this one end.

    If the folder is moved or deleted in the meantime, the training ends before the next step or image, and writes
    nothing more. Otherwise it would go on in a second folder under the old name.
    """

    def __init__(self) -> None:
        self._refusal = ""
        self._locks = ExitStack()
        self._lock: IO[str] | None = None

    @contextmanager
    def held(self, trainer: Trainer, ckpt_path: str | None) -> Iterator[None]:
        """Lock the folder on rank zero, around `trainer.fit`.

        Args:
            trainer: The trainer, with a `Checkpoint`.
            ckpt_path: Checkpoint from which the training resumes; None for a new training.

        Raises:
            ValueError: Another process holds the folder, or it has checkpoints that the training would replace.
        """
        folder = Path(trainer.checkpoint_callback.dirpath)  # type: ignore[union-attr]
        with self._locks:
            if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
                try:
                    lock = self._locks.enter_context(_alone_in(folder))
                    # Some network file systems number a file anew each time: the place of a lock is not checked there.
                    self._lock = lock if is_at(lock, RunFolder(folder).fit_lock) else None
                    refuse_to_replace(folder, ckpt_path)
                except (OSError, ValueError) as error:
                    # Processes that are already running would wait for ever for rank zero to join them. So it joins,
                    # and `setup` ends them all.
                    if not _is_awaited(trainer):
                        raise
                    self._refusal = str(error)
            yield

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """End every process if rank zero may not train."""
        if refusal := trainer.strategy.broadcast(self._refusal):
            raise ValueError(refusal)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Check that the folder is still there, before `Checkpoint` may save."""
        self._check(trainer)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Check that the folder is still there, before losses are written."""
        self._check(trainer)

    def on_validation_batch_start(self, trainer: Trainer, *_: Any) -> None:
        """Check that the folder is still there, before scores are written."""
        self._check(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check that the folder is still there, before `Checkpoint` may save."""
        self._check(trainer)

    def _check(self, trainer: Trainer) -> None:
        """End the training if its folder is no longer in its place; lock the folder again if only the lock is gone.

        Raises:
            LostFolderError: The folder was moved or deleted, or another training has taken it.
        """
        path = RunFolder(Path(trainer.checkpoint_callback.dirpath)).fit_lock  # type: ignore[union-attr]
        if self._lock is None or is_at(self._lock, path):
            return
        try:
            if not path.parent.is_dir():
                raise BlockingIOError(f"{path.parent} was moved or deleted")
            self._lock = self._locks.enter_context(hold(path))
        except BlockingIOError as error:
            raise LostFolderError(
                f"{error}, while this training wrote to it; the training ends without saving. In a folder that was "
                "moved, --ckpt_path last resumes it"
            ) from None


def _is_awaited(trainer: Trainer) -> bool:
    """Return whether other processes of the training, which this one did not start, are already running."""
    if trainer.world_size == 1:
        return False
    environment = trainer.strategy.cluster_environment  # type: ignore[attr-defined]
    return trainer.num_nodes > 1 or bool(environment.creates_processes_externally)


@contextmanager
def _alone_in(folder: Path) -> Iterator[IO[str]]:
    try:
        file = hold(RunFolder(folder).fit_lock)
    except BlockingIOError as error:
        raise ValueError(f"{error}; wait for its end, or set another trainer.default_root_dir") from None
    with file:
        for draft in folder.glob(".*.ckpt.*.draft"):  # unfinished files of a killed training
            draft.unlink()
        yield file


def refuse_to_replace(folder: Path, ckpt_path: str | None) -> None:
    """Allow a training to begin in a folder without checkpoints, or to resume from a checkpoint in the folder.

    Raises:
        ValueError: The training would replace the checkpoints of another one.
    """
    run = RunFolder(folder)
    there = [path.name for path in (run.best, run.last) if path.is_file()]
    goes_on = ckpt_path == "last" or (ckpt_path is not None and Path(ckpt_path).resolve().parent == folder.resolve())
    if there and not goes_on:
        raise ValueError(
            f"{folder} holds {' and '.join(there)} of an earlier training, which this one would replace: resume it by "
            "--ckpt_path last, set another trainer.default_root_dir, or delete the checkpoints"
        )
