"""`deeplab`, but it kills itself: python -m tests.integration.killed WHERE COUNT COMMAND [OPTIONS].

WHERE is a method; at its COUNT-th call this process gets SIGKILL.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from deeplab_lightning.__main__ import main


def kill_at(where: str, count: int) -> None:
    """Make the COUNT-th call kill the process; of several processes, only rank 0."""
    from torch.optim import SGD  # imported here because the loader workers import this file too

    from deeplab_lightning.callbacks.checkpoint_io import AtomicCheckpointIO
    from deeplab_lightning.modules.base import SegmentationModule

    owner, name = {
        "training_step": (SegmentationModule, "training_step"),
        "validation_step": (SegmentationModule, "validation_step"),
        "optimizer_step": (SGD, "step"),
        "save": (AtomicCheckpointIO, "save_checkpoint"),
    }[where]
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def counted(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count and os.environ.get("LOCAL_RANK", "0") == "0":
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **keywords)

    setattr(owner, name, counted)


if __name__ == "__main__":
    kill_at(sys.argv[1], int(sys.argv[2]))
    sys.exit(main(sys.argv[3:]))
