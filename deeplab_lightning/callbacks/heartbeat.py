"""End a training on several processes when one of them gives no sign of life, for the others would wait for it."""

import os
import signal
import sys
import threading
from collections.abc import Iterable, Mapping

import torch.distributed
from lightning import Callback, LightningModule, Trainer
from rich import get_console
from torch._C._distributed_c10d import PrefixStore, TCPStore

CHECKS = 20
"""Number of times that each process checks the others within the time that they may be silent."""
FOLLOWERS_WAIT = 3
"""Number of checks by which a launched process acts later than its launcher, which ends it and says why, once."""


class Silence:
    """Counts the checks in a row at which each rank's beats have stayed as they were.

    Checks are counted, not seconds: a process that was itself stopped for a while blames nobody for it.

    Args:
        ranks: All ranks.
        patience: Number of such checks after which a rank counts as silent.
    """

    def __init__(self, ranks: Iterable[int], patience: int) -> None:
        self.patience = patience
        self._seen = dict.fromkeys(ranks, 0)
        self._checks = dict.fromkeys(self._seen, 0)

    def check(self, beats: Mapping[int, int]) -> int | None:
        """Compare the beats of each rank with those of the last check; return the first silent rank, if there is one.

        Where no beats can be read it is the first of all ranks, whose process keeps them.
        """
        for rank, count in self._seen.items():
            now = beats.get(rank, count)
            self._checks[rank] = self._checks[rank] + 1 if now == count else 0
            self._seen[rank] = now
        return next((rank for rank, checks in self._checks.items() if checks >= self.patience), None)


class Heartbeat(Callback):
    """End the run with a sentence, and status 1, when a process of several has given no sign of life for some minutes.

    Such a process was stopped, was swapped out by the system, or has gone with its machine. A thread of each process
    beats: a long validation or write is no silence, and neither is a program that waits for ever in its own code.
    Nothing is saved then; `last.ckpt` is as it was.

    Args:
        minutes: Minutes of silence that end the run; null for never.
    """

    def __init__(self, minutes: float | None = 5.0) -> None:
        if minutes is not None and minutes <= 0:
            raise ValueError(f"heartbeat.minutes must be above 0, or null for no heartbeat, got {minutes}")
        self.minutes = minutes
        self._over: threading.Event | None = None
        self._beats: dict[int, int] = {}
        self._launcher = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start to beat and to listen."""
        if self.minutes is None or trainer.world_size == 1 or not torch.distributed.is_initialized():
            return
        # A connection of its own to the store where the processes have met: any other is blocked for as long as
        # somebody waits on it, which is just when the beats are needed.
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = PrefixStore("heartbeat", TCPStore(address, port, is_master=False, wait_for_workers=False))
        self._over, pause = threading.Event(), 60 * self.minutes / CHECKS
        threading.Thread(target=self._beat, args=(self._over, store, trainer, pause), daemon=True).start()
        threading.Thread(target=self._listen, args=(self._over, trainer, pause), daemon=True).start()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stop once every process is through."""
        if self._over is not None:
            trainer.strategy.barrier("heartbeat")
            self._over.set()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Fall silent, for this process is about to end."""
        if self._over is not None:
            self._over.set()

    def _beat(self, over: threading.Event, store: PrefixStore, trainer: Trainer, pause: float) -> None:
        """Count up for this rank and read the others' counts; where the store's process hangs, this thread does."""
        launcher = f"process of rank {trainer.global_rank - trainer.local_rank}"
        try:
            store.add(launcher, 0 if trainer.local_rank else os.getpid())
            while not over.wait(pause):
                self._launcher = store.add(launcher, 0)
                own, ranks = trainer.global_rank, range(trainer.world_size)
                self._beats = {rank: store.add(str(rank), int(rank == own)) for rank in ranks}
        except RuntimeError:  # the store's process has ended
            return

    def _listen(self, over: threading.Event, trainer: Trainer, pause: float) -> None:
        patience = CHECKS + (FOLLOWERS_WAIT if trainer.local_rank else 0)
        silence = Silence(range(trainer.world_size), patience)
        while not over.wait(pause):
            if (silent := silence.check(self._beats)) is not None:
                self._end(trainer, silent)

    def _end(self, trainer: Trainer, silent: int) -> None:
        """End this process, what it launched, and a silent one that launched it, whatever they wait for."""
        get_console().show_cursor()
        goes_on = "; --ckpt_path last goes on" if trainer.state.fn == "fit" else ""
        message = (
            f"deeplab: error: rank {silent} has given no sign of life for {self.minutes:g} minutes, so its process was "
            f"stopped or its machine is gone{goes_on} (heartbeat.minutes sets the time)"
        )
        print(message, file=sys.stderr, flush=True)
        if trainer.strategy.launcher is not None:
            trainer.strategy.launcher.kill(signal.SIGKILL)
        if silent == trainer.global_rank - trainer.local_rank and os.getppid() == self._launcher:
            os.kill(self._launcher, signal.SIGKILL)
        os._exit(1)
