"""Segmenting many files: reading, network, CRF and writing of several images at once, recorded in a manifest.

Every worker is a thread that takes one batch from the files to the written results. Decoding, the network and
compression release Python's lock, so that the stages of different batches overlap. On a GPU, one batch at a time is in
the network while others are read and written.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from deeplab_lightning.segmentation.addresses import Place
from deeplab_lightning.segmentation.inputs import Item
from deeplab_lightning.segmentation.manifest import Manifest
from deeplab_lightning.segmentation.segmenter import Method, Segmenter
from deeplab_lightning.segmentation.stages import END, FAILURE, OUTPUTS, Batch, Stages
from deeplab_lightning.segmentation.tiles import LARGEST_WHOLE
from deeplab_lightning.segmentation.writers import Kind, remove_drafts

GPU_WORKERS = 4
"""Number of batches in progress on a GPU: one in the network, the others being read or written."""


@dataclass
class Tally:
    """The outcome of a run.

    Args:
        done: Number of files segmented.
        kept: Number of files that were finished before.
        failed: Sentences about files that could not be segmented.
        remarks: Sentences about results, each once, with the number of files.
    """

    done: int = 0
    kept: int = 0
    failed: list[str] = field(default_factory=list)
    remarks: Counter[str] = field(default_factory=Counter)

    def count(self, outcome: Mapping[str, Any], manifest: Manifest) -> None:
        """Count the outcome of a file, and record it if it was segmented.

        Raises:
            OSError: The results cannot be written, nor can those of other files.
        """
        if END in outcome:
            raise OSError(outcome[END])
        if FAILURE in outcome:
            self.failed.append(outcome[FAILURE])
        elif OUTPUTS in outcome:
            manifest.add(dict(outcome))
            self.done += 1
            self.remarks.update(outcome["remarks"])
        else:
            self.kept += 1


class Pipeline:
    """Segments files into a folder.

    Args:
        segmenter: The model.
        folder: The output folder.
        how: The way from a picture to its label map.
        kinds: Kinds of files to write.
        batch_size: Number of consecutive files whose images of equal size the network computes at once.
        workers: Number of batches in progress; for a CPU one for each processor if not given.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        folder: Place,
        how: Method,
        kinds: Collection[Kind],
        *,
        batch_size: int = 1,
        workers: int | None = None,
    ) -> None:
        self.segmenter = segmenter
        self.stages = Stages(segmenter, folder, how, kinds, batch_size=batch_size)
        is_gpu = segmenter.device.type != "cpu"
        processors = os.cpu_count() or 1
        self.workers = workers or (GPU_WORKERS if is_gpu else processors)
        self.threads = max(1, processors // self.workers)
        self._network: AbstractContextManager[Any] = threading.Lock() if is_gpu else nullcontext()
        self._large = threading.Lock()  # one large image at a time bounds the memory
        self._stop = threading.Event()

    def run(self, items: Sequence[Item], manifest: Manifest, on_progress: Callable[[int], None]) -> Tally:
        """Segment files; what the manifest has is left out.

        An interruption (Ctrl-C) lets the batches in progress end, so that there are whole files only.

        Args:
            items: The files.
            manifest: The record of finished files.
            on_progress: Function that is called with the number of files just finished, skipped or failed.

        Raises:
            OSError: The output folder or the manifest cannot be written.
        """
        tally = Tally()
        clear_drafts(self.stages.folder, items)
        with ThreadPoolExecutor(self.workers, initializer=torch.set_num_threads, initargs=(self.threads,)) as pool:
            chunks = batches(items, self.stages.batch_size)
            waiting: set[Future[Batch]] = set()
            try:
                while True:
                    free = 2 * self.workers - len(waiting)
                    waiting |= {pool.submit(self._segment, chunk, manifest) for chunk in islice(chunks, free)}
                    if not waiting:
                        break
                    finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in finished:
                        outcomes = future.result().outcomes.values()
                        for outcome in outcomes:
                            tally.count(outcome, manifest)
                        on_progress(len(outcomes))
            finally:
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                manifest.tidy()
        return tally

    def _segment(self, items: Sequence[Item], manifest: Manifest) -> Batch:
        """Take the files of one batch through the stages."""
        stages = self.stages
        batch = stages.read(Batch(items, {item.name: manifest.origin(item.name) for item in items}))
        sizes = [picture.size for pages in batch.pictures.values() for picture in pages]
        is_large = any(height * width > LARGEST_WHOLE for height, width in sizes)
        with self._large if is_large else nullcontext(), self._network:
            batch = stages.segment(batch, self.segmenter)
        if self._stop.is_set():
            return batch
        return stages.write(stages.film(batch, self.segmenter))


def batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Yield consecutive files, so many at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))


def clear_drafts(folder: Place, items: Sequence[Item]) -> None:
    """Remove what killed processes left of the results of these files; addresses have no drafts."""
    if isinstance(folder, Path):
        remove_drafts(folder, [item.name for item in items])
