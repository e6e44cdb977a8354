"""What every piece of the measurements on a GPU is given, and the setting that is recorded beside its values."""

import datetime
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from deeplab_lightning.callbacks.record_run import git_state

Values = dict[str, Any]
"""What a piece measured, as plain values for JSON."""


class Unfinished(Exception):  # noqa: N818  # no fault: the piece goes on at the next start
    """A piece cannot be finished now. The message is a sentence that says why, and what to do."""


@dataclass(frozen=True)
class Session:
    """The way in which a piece runs.

    Args:
        folder: Folder of this piece's files, of which it may leave some for the next start.
        device: Device that is measured.
        smoke: Tiny sizes and few steps: the numbers mean nothing.
        seconds: Seconds that the piece may take from now on.
    """

    folder: Path
    device: torch.device
    smoke: bool
    seconds: float
    start: float = field(default_factory=time.monotonic)

    @property
    def seconds_left(self) -> float:
        """The seconds that the piece may still take, at least 0."""
        return max(0.0, self.start + self.seconds - time.monotonic())

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    def synchronize(self) -> None:
        """Wait until the device has done what it was given."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def setting(self) -> dict[str, Any]:
        """The device, the versions and the code that the values hold for."""
        return {
            "device": torch.cuda.get_device_name(self.device) if self.on_gpu else f"cpu ({platform.machine()})",
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version() if self.on_gpu else None,  # type: ignore[no-untyped-call]
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "code": git_state(),
        }


def sentence_of(error: BaseException) -> str:
    """An error in one line, without the advice and the call stack that torch adds to its errors."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
