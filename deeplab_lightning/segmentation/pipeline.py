"""Segmenting many files: reading, network, CRF and writing of several images at once, recorded in a manifest.

Every worker is a thread that takes one batch from the files to the written results. Decoding, the network and
compression release Python's lock, so that the stages of different batches overlap. On a GPU, one batch at a time is in
the network while others are read and written.
"""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from deeplab_lightning.processors import count_processors, set_threads
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
        workers: Largest number of batches in progress; for a CPU one for each processor if not given.
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
        self.processors, is_gpu = count_processors(), segmenter.device.type != "cpu"
        self.workers = workers or (GPU_WORKERS if is_gpu else self.processors)
        self._network: AbstractContextManager[Any] = threading.Lock() if is_gpu else nullcontext()

    def run(self, items: Sequence[Item], manifest: Manifest, on_progress: Callable[[int], None]) -> Tally:
        """Segment files; what the manifest has is left out.

        An interruption (Ctrl-C) ends images, tiles and frames that come to the network; what is through is written. So
        there are whole files only, and all of them are recorded.

        Args:
            items: The files.
            manifest: The record of finished files.
            on_progress: Function that is called with the number of files just finished, skipped or failed.

        Raises:
            OSError: The output folder or the manifest cannot be written.
        """
        tally, stop, waiting = Tally(), threading.Event(), set[Future[Batch]]()
        clear_drafts(self.stages.folder, items)
        division = divide(items, self.stages.batch_size, self.workers, self.processors)
        chunks = batches(items, self.stages.batch_size)
        with (
            self.segmenter.network.register_forward_pre_hook(lambda *_: _go_on(stop)),
            ThreadPoolExecutor(1, initializer=set_threads, initargs=(self.processors,)) as large,
            ThreadPoolExecutor(division.workers, initializer=set_threads, initargs=(division.threads,)) as pool,
        ):
            segment = partial(self._segment, manifest=manifest, large=large, threads_of_video=division.of_video)
            try:
                while True:
                    for chunk in islice(chunks, 2 * division.workers - len(waiting)):
                        waiting.add(pool.submit(segment, chunk))
                    if not waiting:
                        break
                    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                        outcomes = future.result().outcomes.values()
                        for outcome in outcomes:
                            tally.count(outcome, manifest)
                        waiting.remove(future)
                        on_progress(len(outcomes))
            finally:
                stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                _record(waiting, manifest)
                manifest.tidy()
        return tally

    def _segment(
        self, items: Sequence[Item], *, manifest: Manifest, large: ThreadPoolExecutor, threads_of_video: int
    ) -> Batch:
        """Take the files of a batch through the stages; `large` takes large images one by one, to bound the memory."""
        stages = self.stages
        batch = stages.read(Batch(items, {item.name: manifest.origin(item.name) for item in items}))
        sizes = [picture.size for pages in batch.pictures.values() for picture in pages]
        with self._network:
            if any(height * width > LARGEST_WHOLE for height, width in sizes):
                batch = large.submit(stages.segment, batch, self.segmenter).result()
            else:
                batch = stages.segment(batch, self.segmenter)
        batch = stages.write(batch)
        with suppress(CancelledError):  # the images of the batch are written
            batch = stages.film(batch, self.segmenter, threads_of_video)
        return batch


@dataclass(frozen=True)
class Division:
    """The processors, divided among batches in progress.

    The last bits of scores depend on the number of threads. So it follows from the files, and neither from what is
    finished nor from the time that it takes: a run that was interrupted ends with the same bytes.

    Args:
        workers: Number of batches in progress.
        threads: Number of threads of the network for a batch.
        of_video: The same for a video, which goes on alone where there are few among many images.
    """

    workers: int
    threads: int
    of_video: int


def divide(items: Sequence[Item], batch_size: int, workers: int, processors: int, limit: int | None = None) -> Division:
    """Divide processors among the batches of files.

    Args:
        items: The files.
        batch_size: Number of files of a batch.
        workers: Largest number of batches in progress.
        processors: Number of processors.
        limit: Largest number of threads; that of the processors if not given.
    """
    chunks = list(batches(items, batch_size))
    videos = sum(any(item.is_video for item in chunk) for chunk in chunks)
    workers = max(1, min(workers, len(chunks)))
    threads, of_video = (
        max(1, min(processors // number, limit or processors)) for number in (workers, max(1, min(workers, videos)))
    )
    return Division(workers, threads, of_video)


def _go_on(stop: threading.Event) -> None:
    """Raise an error once the run is stopped; the network calls it before each image, frame and tile."""
    if stop.is_set():
        raise CancelledError


def _record(futures: Collection[Future[Batch]], manifest: Manifest) -> None:
    """Record what was segmented while a run ended."""
    for future in futures:
        if not future.cancelled() and future.exception() is None:
            for outcome in future.result().outcomes.values():
                if OUTPUTS in outcome:
                    manifest.add(outcome)


def batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Yield consecutive files, so many at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))


def clear_drafts(folder: Place, items: Sequence[Item]) -> None:
    """Remove what killed processes left of the results of these files; addresses have no drafts."""
    if isinstance(folder, Path):
        remove_drafts(folder, [item.name for item in items])
