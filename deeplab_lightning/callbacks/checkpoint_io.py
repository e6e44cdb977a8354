"""Atomic checkpoints: the old or the new file is complete, whenever the process or the machine dies."""

import errno
import io
import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_warn

from deeplab_lightning.atomic import replacing
from deeplab_lightning.checkpoint_file import read_checkpoint, verify_checksums
from deeplab_lightning.run_folder import RunFolder

NEEDED_TO_EVALUATE = ("epoch", "global_step", "hyper_parameters", "pytorch-lightning_version")
NEEDED_TO_RESUME = ("callbacks", "loops", "lr_schedulers", "optimizer_states")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a draft beside the file that it replaces, verifies it on the disk, and renames it into place.

    The replaced last.ckpt stays as previous.ckpt until `Checkpoint` removes it at the end of the training. Until then
    it needs disk space for one more checkpoint.

    Args:
        resumes: Checkpoints are read to resume a training. If last.ckpt cannot be read, previous.ckpt is then read
            instead, or else best.ckpt.
    """

    def __init__(self, resumes: bool = False) -> None:
        self._resumes = resumes

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Replace the checkpoint at a path.

        Raises:
            OSError: The checkpoint cannot be written; the old file is kept.
        """
        path = Path(path)
        run = RunFolder(path.parent)
        content = io.BytesIO()
        torch.save(checkpoint, content)
        try:
            with replacing(path) as draft:
                with draft.open("wb") as file:
                    file.write(content.getbuffer())
                    file.flush()
                    os.fsync(file.fileno())
                    if hasattr(os, "posix_fadvise"):  # else the check below would read the page cache
                        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                _verify_written(draft)
                if path == run.last and path.exists():
                    _keep_as_previous(run)
            # A rename survives a power cut only after the folder, which holds the names, is on the disk as well.
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            kept = "the existing file is kept" if path.exists() else "there is no earlier file"
            raise OSError(
                f"{path}: the checkpoint of {content.tell() / 2**20:.1f} MiB cannot be written "
                f"({error.strerror}); {kept}. Free space or make the folder writable, then resume by --ckpt_path last"
            ) from error

    def load_checkpoint(self, path: str | Path, map_location: Any = "cpu", weights_only: Any = True) -> dict[str, Any]:
        """Read the checkpoint at a path without executing code in it, whatever `weights_only` says.

        Raises:
            OSError: The file cannot be opened.
            ValueError: The checkpoint is damaged or lacks necessary parts, and there is no other to resume from.
        """
        path = Path(path)
        run = RunFolder(path.parent)
        try:
            return self._load(path, map_location)
        except ValueError as error:
            others = [run.previous, run.best] if self._resumes and path == run.last else []
            for other in filter(Path.is_file, others):
                try:
                    checkpoint = self._load(other, map_location)
                except ValueError:
                    continue
                rank_zero_warn(
                    f"{error}; the training resumes from {other} of step {checkpoint['global_step']} instead"
                )
                return checkpoint
            raise

    def _load(self, path: Path, map_location: Any) -> dict[str, Any]:
        checkpoint = read_checkpoint(path, map_location)
        needed = NEEDED_TO_EVALUATE + NEEDED_TO_RESUME if self._resumes else NEEDED_TO_EVALUATE
        missing = [name for name in needed if name not in checkpoint]
        if missing and not set(missing) - set(NEEDED_TO_RESUME):
            raise ValueError(
                f"{path}: it holds weights and no state of a training (no {', '.join(missing)}); "
                "start a training from them with --model.start_from in place of --ckpt_path"
            )
        if missing:
            raise ValueError(f"{path}: it is not a checkpoint of `deeplab fit`: it has no {', '.join(missing)}")
        return checkpoint


def _verify_written(draft: Path) -> None:
    try:
        verify_checksums(draft)
    except ValueError as error:
        raise OSError(errno.EIO, "the disk returns other bytes than those written") from error


def _keep_as_previous(run: RunFolder) -> None:
    """Give last.ckpt, which is about to be replaced, the additional name previous.ckpt.

    This is a hard link. After a rename there would be no last.ckpt for a moment, and a copy would take time.
    """
    if run.previous.exists() and run.previous.samefile(run.last):  # an earlier write was killed right after this
        return
    try:
        with replacing(run.previous) as draft:
            os.link(run.last, draft)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise  # these four mean that the file system has no hard links: the run continues without previous.ckpt
