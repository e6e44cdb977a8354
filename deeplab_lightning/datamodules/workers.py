"""Loader workers: how they are started, what runs in them, and which signals they heed.

Lightning is not imported here: the fork server loads this module before it can start the first worker.
"""

import ctypes
import os
import re
import signal
import threading
from multiprocessing import active_children, forkserver, get_context, parent_process, resource_tracker
from multiprocessing.context import ForkServerContext
from multiprocessing.sharedctypes import RawArray
from typing import TypedDict

import torch
from torch import Tensor

from deeplab_lightning.datasets.images import NOTE_SIZE, DataError, Note, Sample, note_what_is_read

POLL_SECONDS = 1.0
"""Seconds after which a worker at the latest sees that its trainer has died."""


class Batch(TypedDict):
    """Samples of one size: image (B, 3, H, W), mask (B, H, W), and their ids."""

    image: Tensor
    mask: Tensor
    image_id: list[str]


def collate(samples: list[Sample]) -> Batch:
    """Stack samples into a batch; the images stay channels last, as they are made.

    Raises:
        DataError: Their sizes differ.
    """
    sizes = {(sample["image"].shape, sample["mask"].shape) for sample in samples}
    if len(sizes) > 1:
        names = ", ".join(sample["image_id"] for sample in samples)
        raise DataError(f"images {names} differ in size and cannot share a batch; set data.eval_batch_size to 1")
    return {
        "image": torch.stack([sample["image"].permute(1, 2, 0) for sample in samples]).permute(0, 3, 1, 2),
        "mask": torch.stack([sample["mask"] for sample in samples]),
        "image_id": [sample["image_id"] for sample in samples],
    }


def fork_server() -> ForkServerContext:
    """The context of workers that are forked from a server, a process without threads.

    In a process group the trainer has threads of the group's own (NCCL's, gloo's). A worker that is forked from it can
    inherit a lock that such a thread holds at that moment, and since the thread is not there in the worker, nobody
    would ever release it.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    # The server and the resource tracker must live as long as the trainer, but SIGTERM and SIGUSR1 reach the whole
    # process group, and are meant for the trainer, which saves first. A blocked signal stays blocked across fork and
    # exec: so both are started here, under a mask, and not by the first loader.
    own = {signal.SIGTERM, signal.SIGUSR1}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, own)
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, own)  # the tracker's start has unblocked SIGTERM in this process
    forkserver.ensure_running()
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return context


_notes: list[Note] = []
"""Notes of all workers that this process has asked for.

torch's error names the process of a worker that died, and no image. A worker that native code ends cannot say anything
any more, so that it writes each path down before it opens it, in memory that outlives it.
"""


def new_notes(num_workers: int) -> list[Note]:
    """Memory for the workers of a loader, in which each notes the image that it opens."""
    notes: list[Note] = [RawArray(ctypes.c_char, NOTE_SIZE) for _ in range(num_workers)]
    _notes.extend(notes)
    return notes


def start_worker(notes: list[Note], worker_id: int) -> None:
    """Prepare a worker: it notes the images that it opens, and leaves signals to the trainer."""
    note_what_is_read(notes[worker_id])
    leave_signals_to_the_trainer()


def opened_last(error: str) -> list[str]:
    """The images that dead workers had opened last.

    Args:
        error: Message of the error that tells of the death. It names the workers' processes where torch raised it;
            where it names none, all workers that have ended are meant.
    """
    found = re.match(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)", error)
    alive = {str(child.pid) for child in active_children()}
    last = (note.value.decode().partition(" ") for note in _notes)
    return [path for pid, _, path in last if path and (pid in found[1].split(", ") if found else pid not in alive)]


def leave_signals_to_the_trainer() -> None:
    """Make this worker outlive a signal to its process group, and end with its trainer.

    Ctrl-C in a terminal, and the signals of a cluster, reach every process of the group. The trainer answers by saving
    a checkpoint in the middle of an epoch, and goes on using its workers until it has; a worker that died first would
    turn the interrupt into an error. So a worker ends of two things only: SIGTERM from the trainer itself, by which
    torch shuts a worker down, and the trainer's death.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # Blocked, not ignored: only then can the thread wait for it and see who sent it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with_the_trainer, daemon=True).start()


def _end_with_the_trainer() -> None:
    trainer = parent_process()
    assert trainer is not None, "a worker has a parent"
    # torch's own watchdog compares the parent's number, but the parent of a forked worker is the fork server, which
    # outlives the trainer; multiprocessing's `parent_process` is the trainer in both cases.
    while trainer.is_alive():
        info = signal.sigtimedwait({signal.SIGTERM}, POLL_SECONDS)
        if info is not None and info.si_pid == trainer.pid:
            break
    os._exit(0)  # not sys.exit: the main thread may sit in native code or in a queue, and must not run its handlers
