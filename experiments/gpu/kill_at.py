"""A callback that kills its own training, like a machine that fails."""

import os
import signal
from typing import Any

from lightning import Callback, Trainer


class KillAt(Callback):
    """Kills the process (SIGKILL) after a step.

    Args:
        step: The step.
    """

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Kill the process if this was the step."""
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)
