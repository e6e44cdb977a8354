"""Loader workers: their start, their batches, and their handling of signals.

Lightning is not imported here because the fork server loads this module before it can start the first worker.
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

from deeplab_lightning.datasets.images import NOTE_SIZE, DataError, Note, Sample, record_opened_paths

POLL_SECONDS = 1.0
"""Seconds after which a worker notices, at the latest, that its trainer has died."""


class Batch(TypedDict):
    """A batch of samples of the same size: image (B, C, H, W), mask (B, H, W), and their ids."""

    image: Tensor
    mask: Tensor
    image_id: list[str]


def collate(samples: list[Sample]) -> Batch:
    """Stack samples into a batch; the images keep the channels-last memory format of the samples.

    Raises:
        DataError: The samples differ in size.
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
    """The multiprocessing context whose workers are forked from a server process without threads.

    In distributed training, the trainer runs threads of the communication library (NCCL, gloo). A worker forked from
    the trainer could inherit a lock that such a thread holds at that moment. The thread does not exist in the worker,
    so the lock would never be released.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    # The server and the resource tracker must live as long as the trainer. But a cluster sends SIGTERM and SIGUSR1 to
    # the whole process group, while only the trainer is to answer them: it saves a checkpoint first. A blocked signal
    # stays blocked across fork and exec, so both are started here with these signals blocked, not by the first loader.
    own = {signal.SIGTERM, signal.SIGUSR1}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, own)
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, own)  # starting the tracker has unblocked SIGTERM in this process
    forkserver.ensure_running()
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return context


_notes: list[Note] = []
"""Notes of all workers that this process has started.

torch's error names the process of a dead worker, but no image. A worker that is killed inside native code cannot report
anything, so it writes each path to shared memory before it opens the file.
"""


def new_notes(num_workers: int) -> list[Note]:
    """Shared memory for the workers of a loader; each worker writes there the path of the image that it opens."""
    notes: list[Note] = [RawArray(ctypes.c_char, NOTE_SIZE) for _ in range(num_workers)]
    _notes.extend(notes)
    return notes


def start_worker(notes: list[Note], worker_id: int) -> None:
    """Prepare a worker to write down the images that it opens, and to leave signals to the trainer."""
    record_opened_paths(notes[worker_id])
    leave_signals_to_the_trainer()


def opened_last(error: str) -> list[str]:
    """The images that dead workers opened last.

    Args:
        error: Message of the error that reports the death. torch's message names the process ids; if it names none, all
            workers that have ended count as dead.
    """
    found = re.match(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)", error)
    alive = {str(child.pid) for child in active_children()}
    last = (note.value.decode().partition(" ") for note in _notes)
    return [path for pid, _, path in last if path and (pid in found[1].split(", ") if found else pid not in alive)]


def leave_signals_to_the_trainer() -> None:
    """Make this worker survive a signal to its process group, and end together with its trainer.

    Ctrl-C in a terminal, and the signals of a cluster, reach every process of the group. The trainer then saves a
    checkpoint in the middle of an epoch, and needs its workers until that is done. If a worker died first, the
    interrupt would become an error. So only two events end a worker: SIGTERM from the trainer itself, which is how
    torch shuts a worker down, and the death of the trainer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # SIGTERM is blocked, not ignored: only then can the thread wait for it and see its sender.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with_the_trainer, daemon=True).start()


def _end_with_the_trainer() -> None:
    trainer = parent_process()
    assert trainer is not None, "a worker has a parent"
    # torch's own watchdog compares the id of the parent process. But the parent of a worker of the fork server is that
    # server, which outlives the trainer; multiprocessing's `parent_process` is the trainer in both cases.
    while trainer.is_alive():
        info = signal.sigtimedwait({signal.SIGTERM}, POLL_SECONDS)
        if info is not None and info.si_pid == trainer.pid:
            break
    os._exit(0)  # not sys.exit: the main thread may be blocked in native code or a queue, and must not run its handlers
