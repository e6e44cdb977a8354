"""How loader workers come to be, and which signals they heed."""

import os
import signal
import threading
from multiprocessing import forkserver, get_context, parent_process
from multiprocessing.context import ForkServerContext

POLL_SECONDS = 1.0


def fork_server() -> ForkServerContext:
    """A process without threads that loader workers are forked from.

    In a process group the trainer has threads of the group's own, and a worker forked from it can inherit a lock that
    one of them holds, and wait for it forever.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(["deeplab_lightning.datamodules.base"])
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    forkserver.ensure_running()  # with these signals blocked, for they are the trainer's
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return context


def leave_signals_to_the_trainer(_: int) -> None:
    """A signal to the whole process group must not end a worker before the trainer has saved.

    Only the trainer's own SIGTERM does, and the trainer's death.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with_the_trainer, daemon=True).start()


def _end_with_the_trainer() -> None:
    trainer = parent_process()
    assert trainer is not None, "a worker has a parent"
    while trainer.is_alive():  # the fork server, which torch takes for the parent, outlives it
        info = signal.sigtimedwait({signal.SIGTERM}, POLL_SECONDS)
        if info is not None and info.si_pid == trainer.pid:
            break
    os._exit(0)
