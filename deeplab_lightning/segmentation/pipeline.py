"""Segmenting many files: reading, network, CRF and writing of several images at once, recorded in a manifest.

Every worker is a thread that takes one batch from the files to the written results. Decoding, the network and
compression release Python's lock, so that the stages of different batches overlap. On a GPU, one batch at a time is in
the network while others are read and written.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.segmentation.inputs import Item
from deeplab_lightning.segmentation.manifest import Manifest, file_digest
from deeplab_lightning.segmentation.pictures import Picture
from deeplab_lightning.segmentation.result import SegmentationResult
from deeplab_lightning.segmentation.segmenter import Method, Segmenter
from deeplab_lightning.segmentation.tiles import LARGEST_WHOLE
from deeplab_lightning.segmentation.video import segment_video
from deeplab_lightning.segmentation.writers import Kind, write_result

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
        folder: Path,
        how: Method,
        kinds: Collection[Kind],
        *,
        batch_size: int = 1,
        workers: int | None = None,
    ) -> None:
        self.segmenter, self.folder, self.how, self.kinds, self.batch_size = segmenter, folder, how, kinds, batch_size
        is_gpu = segmenter.device.type != "cpu"
        processors = os.cpu_count() or 1
        self.workers = workers or (GPU_WORKERS if is_gpu else processors)
        self.threads = max(1, processors // self.workers)
        self._network: AbstractContextManager[Any] = threading.Lock() if is_gpu else nullcontext()
        self._large = threading.Lock()  # one large image at a time bounds the memory
        self._stop = threading.Event()
        self.origin = {
            "model": segmenter.digest,
            "settings": how.as_dict()
            | {"kinds": sorted(kinds), "output_stride": segmenter.network.output_stride, "batch_size": batch_size}
            | {"value_range": list(segmenter.reader.value_range)},
        }

    def run(self, items: Sequence[Item], manifest: Manifest, on_progress: Callable[[int], None]) -> Tally:
        """Segment files; what the manifest has is left out.

        An interruption (Ctrl-C) lets the batches in progress end, so that there are whole files only.

        Args:
            items: The files.
            manifest: The record of finished files.
            on_progress: Function that is called with the number of files just finished, skipped or failed.
        """
        tally = Tally()
        chunks = (items[start : start + self.batch_size] for start in range(0, len(items), self.batch_size))
        with ThreadPoolExecutor(self.workers, initializer=torch.set_num_threads, initargs=(self.threads,)) as pool:
            waiting: set[Future[list[dict[str, Any]]]] = set()
            try:
                while True:
                    free = 2 * self.workers - len(waiting)
                    waiting |= {pool.submit(self._segment, chunk, manifest) for chunk in islice(chunks, free)}
                    if not waiting:
                        break
                    finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in finished:
                        outcomes = future.result()
                        for outcome in outcomes:
                            self._count(outcome, manifest, tally)
                        on_progress(len(outcomes))
            finally:
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
        return tally

    def _count(self, outcome: dict[str, Any], manifest: Manifest, tally: Tally) -> None:
        if "failure" in outcome:
            tally.failed.append(outcome["failure"])
        elif "outputs" in outcome:
            manifest.add(outcome)
            tally.done += 1
            tally.remarks.update(outcome["remarks"])
        else:
            tally.kept += 1

    def _segment(self, items: Sequence[Item], manifest: Manifest) -> list[dict[str, Any]]:
        """Segment the files of one batch, and return a record, a failure or nothing for each."""
        outcomes: dict[str, dict[str, Any]] = {item.name: {} for item in items}
        digests: dict[str, str] = {}
        for item in items:
            try:
                digests[item.name] = file_digest(item.path)
            except OSError as error:
                outcomes[item.name] = {"failure": f"{item.path}: {error.strerror or error}"}
        origins = {name: {"sha256": digest, **self.origin} for name, digest in digests.items()}
        pending = {name for name in digests if not manifest.finished(name, origins[name])}
        if pending:
            # All files of the batch are segmented again if one is missing, so that batches and thereby the last bits
            # of the scores do not depend on where a run was interrupted.
            for item, outputs in self._outputs([item for item in items if item.name in digests], pending):
                if "failure" not in outputs:
                    outputs |= {"name": item.name, "input": str(item.path), **origins[item.name]}
                outcomes[item.name] = outputs
        return list(outcomes.values())

    def _outputs(self, items: Sequence[Item], pending: Collection[str]) -> Iterator[tuple[Item, dict[str, Any]]]:
        start = time.perf_counter()
        pictures: dict[str, list[Picture]] = {}
        for item in items:
            try:
                if not item.is_video:
                    pictures[item.name] = self.segmenter.reader.read_all(item.path)
            except DataError as error:
                yield item, {"failure": str(error)}
            except MemoryError:
                yield item, {"failure": f"{item.path}: there is not enough memory to decode it"}
        try:
            results = self._results([picture for pages in pictures.values() for picture in pages])
        except (MemoryError, RuntimeError, ValueError) as error:
            names = ", ".join(str(item.path) for item in items)
            yield from ((item, {"failure": f"{names}: {' '.join(str(error).split())}"}) for item in items)
            return
        for item in items:
            own = list(islice(results, len(pictures.get(item.name, []))))
            if item.name in pending and not self._stop.is_set() and (own or item.is_video):
                yield item, self._written(item, own) | {"seconds": round(time.perf_counter() - start, 3)}

    def _results(self, pictures: Sequence[Picture]) -> Iterator[SegmentationResult]:
        is_large = any(picture.size[0] * picture.size[1] > LARGEST_WHOLE for picture in pictures)
        with self._large if is_large else nullcontext(), self._network:
            return iter(self.segmenter.run(pictures, self.how, "probabilities" in self.kinds) if pictures else [])

    def _written(self, item: Item, results: Sequence[SegmentationResult]) -> dict[str, Any]:
        try:
            if item.is_video:
                outputs, areas = segment_video(self.segmenter, item, self.folder, self.how)
                results = []
            else:
                outputs, areas = [], Counter[str]()
            for number, result in enumerate(results, 1):
                name = item.name if len(results) == 1 else f"{item.name}_page{number:04d}"
                outputs += write_result(result, self.folder, name, self.kinds)
                areas.update(result.areas)
        except (OSError, ValueError) as error:
            return {"failure": str(error) if str(item.path) in str(error) else f"{item.path}: {error}"}
        remarks = sorted({remark for result in results for remark in result.remarks})
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return {"outputs": outputs, "areas": dict(areas), "remarks": remarks, "time": now}
