"""What runs in the loader workers, how they come to be, and which signals they heed; Lightning is not imported."""

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


class Batch(TypedDict):
    """Samples of one size: image (B, 3, H, W), mask (B, H, W), and their ids."""

    image: Tensor
    mask: Tensor
    image_id: list[str]


def collate(samples: list[Sample]) -> Batch:
    """Stack samples into a batch; the images stay channels last, as they are made.

    Raises:
        DataError: their sizes differ.
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
    """A process without threads that loader workers are forked from.

    In a process group the trainer has threads of the group's own, and a worker forked from it can inherit a lock that
    one of them holds, and wait for it forever.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    own = {signal.SIGTERM, signal.SIGUSR1}  # the trainer's: what is started with them blocked has them blocked
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, own)
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, own)  # the line before unblocks SIGTERM
    forkserver.ensure_running()
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return context


_notes: list[Note] = []
"""Of every worker that this process has asked for: what it opened last."""


def new_notes(num_workers: int) -> list[Note]:
    """Where each worker of a loader notes what it opens."""
    notes: list[Note] = [RawArray(ctypes.c_char, NOTE_SIZE) for _ in range(num_workers)]
    _notes.extend(notes)
    return notes


def start_worker(notes: list[Note], worker_id: int) -> None:
    """Prepare a worker: it notes what it reads, and leaves signals to the trainer."""
    note_what_is_read(notes[worker_id])
    leave_signals_to_the_trainer()


def opened_last(error: str) -> list[str]:
    """The images that workers had opened last of whose death an error tells; of all that are gone, if it has no pid."""
    found = re.match(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)", error)
    alive = {str(child.pid) for child in active_children()}
    last = (note.value.decode().partition(" ") for note in _notes)
    return [path for pid, _, path in last if path and (pid in found[1].split(", ") if found else pid not in alive)]


def leave_signals_to_the_trainer() -> None:
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
