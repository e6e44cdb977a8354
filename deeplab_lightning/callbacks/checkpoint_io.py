"""Checkpoints that are either the old file or the new one, whenever the process or the machine dies."""

import io
import os
import pickle
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the file that is to be replaced, have it on the disk, then rename it into place."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Replace the checkpoint at a path.

        Raises:
            OSError: it cannot be written; the file that was there still is.
        """
        path = Path(path)
        content = io.BytesIO()
        torch.save(checkpoint, content)
        partial = path.with_name(".checkpoint.partial")  # one name: what a kill leaves behind, the next save replaces
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            if partial.is_file():
                partial.unlink()
            kept = "the one before is kept" if path.exists() else "there was none before"
            raise OSError(
                f"{path}: the checkpoint of {content.tell() / 2**20:.1f} MiB cannot be written "
                f"({error.strerror}); {kept}. Make room or the folder writable, then go on with --ckpt_path last"
            ) from error

    def load_checkpoint(self, path: str | Path, *arguments: Any, **keywords: Any) -> dict[str, Any]:
        """Read the checkpoint at a path.

        Raises:
            ValueError: it holds what would have to be executed to be loaded.
        """
        try:
            return super().load_checkpoint(path, *arguments, **keywords)
        except pickle.UnpicklingError as error:
            raise ValueError(
                f"{path}: it holds more than tensors and plain values; loading it could execute anything"
            ) from error
