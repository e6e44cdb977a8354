"""Checkpoints that are either the old file or the new one, whenever the process or the machine dies."""

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

OF_A_RUN = ("epoch", "global_step", "hyper_parameters", "pytorch-lightning_version")
OF_A_TRAINING = ("callbacks", "loops", "lr_schedulers", "optimizer_states")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the file that is to be replaced, verify what the disk has, then rename it into place.

    The last.ckpt that is replaced stays as previous.ckpt, which takes room on the disk for one more checkpoint, until
    `Checkpoint` removes it at the end of the training.

    Args:
        resumes: Whether checkpoints are read to go on with a training: a last.ckpt that cannot be read is then
            replaced by previous.ckpt, or else by best.ckpt.
    """

    def __init__(self, resumes: bool = False) -> None:
        self._resumes = resumes

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Replace the checkpoint at a path.

        Raises:
            OSError: It cannot be written; the file that was there still is.
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
                    if hasattr(os, "posix_fadvise"):  # without it the check below would read the kernel's memory
                        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                _verify_written(draft)
                if path == run.last and path.exists():
                    _keep_as_previous(run)
            # A rename lasts through a power cut only once the folder, which holds the names, is on the disk as well.
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            kept = "the one before is kept" if path.exists() else "there was none before"
            raise OSError(
                f"{path}: the checkpoint of {content.tell() / 2**20:.1f} MiB cannot be written "
                f"({error.strerror}); {kept}. Make room or the folder writable, then go on with --ckpt_path last"
            ) from error

    def load_checkpoint(self, path: str | Path, map_location: Any = "cpu", weights_only: Any = True) -> dict[str, Any]:
        """Read the checkpoint at a path; nothing in it is executed, whatever `weights_only` says.

        Raises:
            OSError: It cannot be opened.
            ValueError: It is damaged, or lacks parts that are needed, and there is no other to go on from.
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
                    f"{error}; the training goes on from {other} of step {checkpoint['global_step']} instead"
                )
                return checkpoint
            raise

    def _load(self, path: Path, map_location: Any) -> dict[str, Any]:
        checkpoint = read_checkpoint(path, map_location)
        needed = OF_A_RUN + OF_A_TRAINING if self._resumes else OF_A_RUN
        if missing := [name for name in needed if name not in checkpoint]:
            raise ValueError(f"{path}: it is not a checkpoint of `deeplab fit`, for it has no {', '.join(missing)}")
        return checkpoint


def _verify_written(draft: Path) -> None:
    try:
        verify_checksums(draft)
    except ValueError as error:
        raise OSError(errno.EIO, "what the disk gives back is not what was written") from error


def _keep_as_previous(run: RunFolder) -> None:
    """Give last.ckpt, which is about to be replaced, the name previous.ckpt as well.

    A link and no rename, so that there is a last.ckpt at any moment; and no copy, so that it takes no time.
    """
    if run.previous.exists() and run.previous.samefile(run.last):  # an earlier write was killed right after this
        return
    try:
        with replacing(run.previous) as draft:
            os.link(run.last, draft)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise  # these four say that the file system has no second names, and the run does without previous.ckpt
