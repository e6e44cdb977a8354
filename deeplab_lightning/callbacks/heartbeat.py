"""Ending a run on several processes when one of them is silent, because the others would wait for it for ever."""

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
"""The number of checks of the other processes within the time that they may be silent."""
FOLLOWERS_WAIT = 3
"""The number of checks that a launched process waits longer than its launcher, which ends it and prints one message."""


class Silence:
    """Counts, for each rank, the consecutive checks at which its beats have not changed.

    It counts checks and not seconds, so that a process that was stopped for a while does not regard the others as
    silent.

    Args:
        ranks: All ranks.
        patience: Number of checks without change after which a rank is silent.
    """

    def __init__(self, ranks: Iterable[int], patience: int) -> None:
        self.patience = patience
        self._seen = dict.fromkeys(ranks, 0)
        self._checks = dict.fromkeys(self._seen, 0)

    def check(self, beats: Mapping[int, int]) -> int | None:
        """Compare the beats of each rank with those of the last check, and return the first silent rank, if any.

        If no beats can be read, this is the first rank, whose process holds the store of the beats.
        """
        for rank, count in self._seen.items():
            now = beats.get(rank, count)
            self._checks[rank] = self._checks[rank] + 1 if now == count else 0
            self._seen[rank] = now
        return next((rank for rank, checks in self._checks.items() if checks >= self.patience), None)


class Heartbeat(Callback):
    """Ends a run on several processes with a message and status 1 if one of them is silent for some minutes.

    A silent process was stopped or swapped out by the system, or its machine has failed. The beats come from a thread
    of each process, so that neither a long validation or write nor an endless loop in the main thread counts as
    silence. The run ends without saving; `last.ckpt` does not change.

    Args:
        minutes: Number of minutes of silence after which the run ends; null for never.
    """

    def __init__(self, minutes: float | None = 5.0) -> None:
        if minutes is not None and minutes <= 0:
            raise ValueError(f"heartbeat.minutes must be above 0, or null for no heartbeat, got {minutes}")
        self.minutes = minutes
        self._over: threading.Event | None = None
        self._beats: dict[int, int] = {}
        self._launcher = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start the threads that beat and listen."""
        if self.minutes is None or trainer.world_size == 1 or not torch.distributed.is_initialized():
            return
        # The beats have their own connection to the store of the process group. Any other connection is blocked while
        # a process waits on it, which is exactly when the beats are needed.
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = PrefixStore("heartbeat", TCPStore(address, port, is_master=False, wait_for_workers=False))
        self._over, pause = threading.Event(), 60 * self.minutes / CHECKS
        threading.Thread(target=self._beat, args=(self._over, store, trainer, pause), daemon=True).start()
        threading.Thread(target=self._listen, args=(self._over, trainer, pause), daemon=True).start()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stop when every process has finished."""
        if self._over is not None:
            trainer.strategy.barrier("heartbeat")
            self._over.set()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stop beating, because this process is about to end."""
        if self._over is not None:
            self._over.set()

    def _beat(self, over: threading.Event, store: PrefixStore, trainer: Trainer, pause: float) -> None:
        """Increase this rank's count and read those of the others; this thread blocks if the store's process hangs."""
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
        """Kill this process, the processes that it launched and, if its launcher is the silent one, its launcher."""
        get_console().show_cursor()
        resume = "; --ckpt_path last resumes" if trainer.state.fn == "fit" else ""
        message = (
            f"deeplab: error: rank {silent} has given no sign of life for {self.minutes:g} minutes: its process was "
            f"stopped or its machine has failed{resume} (heartbeat.minutes sets the time)"
        )
        print(message, file=sys.stderr, flush=True)
        if trainer.strategy.launcher is not None:
            trainer.strategy.launcher.kill(signal.SIGKILL)
        if silent == trainer.global_rank - trainer.local_rank and os.getppid() == self._launcher:
            os.kill(self._launcher, signal.SIGKILL)
        os._exit(1)
