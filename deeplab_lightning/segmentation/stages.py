"""The stages from files to results: read, segment, write. The engines differ only in where each of them runs."""

import errno
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.processors import threads
from deeplab_lightning.segmentation.addresses import Place, delivering, fetched
from deeplab_lightning.segmentation.inputs import Item
from deeplab_lightning.segmentation.manifest import file_digest, matches
from deeplab_lightning.segmentation.pictures import Picture
from deeplab_lightning.segmentation.result import SegmentationResult
from deeplab_lightning.segmentation.segmenter import Method, Segmenter, refined
from deeplab_lightning.segmentation.video import segment_video
from deeplab_lightning.segmentation.writers import Kind, write_result

HOPELESS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
"""The errors of writing that the next file would meet as well."""
FAILURE, END, OUTPUTS = "failure", "end", "outputs"
"""The parts of an outcome: a sentence about a file; a sentence that ends the run; the files that were written."""


@dataclass
class Batch:
    """Consecutive files on their way through the stages.

    Args:
        items: The files.
        recorded: What the files' results were made of, by name, as far as they are finished.
        origins: What results will be made of, by name.
        pending: Names of the files that are not finished.
        pictures: Pages of the files, by name, between reading and segmenting.
        results: The pages' results, by name, between segmenting and writing.
        is_unrefined: The CRF is still to refine the results.
        outcomes: A record, a failure or, for what was finished before, nothing, by name.
        seconds: Time that the stages took.
    """

    items: Sequence[Item]
    recorded: Mapping[str, Mapping[str, Any] | None]
    origins: dict[str, dict[str, Any]] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)
    pictures: dict[str, list[Picture]] = field(default_factory=dict)
    results: dict[str, list[SegmentationResult]] = field(default_factory=dict)
    is_unrefined: bool = False
    outcomes: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: float = 0.0

    def fail(self, item: Item, error: Exception, path: Path | None = None) -> None:
        """Set the outcome of a file to an error, which may name a copy of it in place of it."""
        text = str((isinstance(error, OSError) and error.strerror) or error) or type(error).__name__
        text = " ".join((text if path is None else text.replace(str(path), str(item.path))).split())
        self.outcomes[item.name] = {FAILURE: text if str(item.path) in text else f"{item.path}: {text}"}


@contextmanager
def _timed(batch: Batch) -> Iterator[None]:
    start = time.perf_counter()
    yield
    batch.seconds += time.perf_counter() - start


class Stages:
    """The stages, which hold no network, so that a process that only reads or writes needs none.

    Args:
        segmenter: The model.
        folder: The output folder.
        how: The way from a picture to its label map.
        kinds: Kinds of files to write.
        batch_size: Number of consecutive files whose images of equal size the network computes at once.
        crf_in_writing: The CRF runs in `write`, on the processors, in place of `segment`.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        folder: Place,
        how: Method,
        kinds: Collection[Kind],
        *,
        batch_size: int = 1,
        crf_in_writing: bool = False,
    ) -> None:
        self.reader, self.folder, self.how, self.kinds = segmenter.reader, folder, how, kinds
        self.batch_size, self.crf_in_writing = batch_size, crf_in_writing
        self.origin = {
            "model": segmenter.digest,
            "settings": how.as_dict()
            | {"kinds": sorted(kinds), "output_stride": segmenter.network.output_stride, "batch_size": batch_size}
            | {"value_range": list(segmenter.reader.value_range)},
        }

    def read(self, batch: Batch) -> Batch:
        """Compute the digests of the files, and decode all images of the batch if one of its files is not finished.

        So batches, and thereby the last bits of the scores, do not depend on where a run was interrupted.
        """
        with _timed(batch), ExitStack() as fetching:
            paths: dict[str, Path] = {}
            for item in batch.items:
                batch.outcomes[item.name] = {}
                try:
                    path = fetching.enter_context(fetched(item.path))
                    batch.origins[item.name] = {"sha256": file_digest(path), **self.origin}
                    paths[item.name] = path
                except OSError as error:
                    batch.fail(item, error)
            batch.pending = {
                name for name, origin in batch.origins.items() if not matches(batch.recorded.get(name), origin)
            }
            for item in batch.items:
                if batch.pending and item.name in paths and not item.is_video:
                    self._decode(batch, item, paths[item.name])
        return batch

    def _decode(self, batch: Batch, item: Item, path: Path) -> None:
        try:
            pages = self.reader.read_all(path)
        except DataError as error:
            batch.fail(item, error, path)
        except MemoryError:
            batch.fail(item, MemoryError("there is not enough memory to decode it"))
        else:
            names = [page.name.replace(str(path), str(item.path)) for page in pages]
            batch.pictures[item.name] = [replace(page, name=name) for page, name in zip(pages, names, strict=True)]

    def segment(self, batch: Batch, segmenter: Segmenter) -> Batch:
        """Turn the images into results, those of equal size at once."""
        pictures = [picture for pages in batch.pictures.values() for picture in pages]
        counts = {name: len(pages) for name, pages in batch.pictures.items()}
        batch.pictures, how = {}, self.how
        try:
            with _timed(batch):
                whole = not any(segmenter.tiling(picture.size, how) for picture in pictures)
                if self.crf_in_writing and how.crf is not None and whole:
                    batch.is_unrefined, how = True, replace(how, crf=None)
                probabilities = batch.is_unrefined or "probabilities" in self.kinds
                results = iter(segmenter.run(pictures, how, probabilities, "confidence" in self.kinds))
        except (MemoryError, RuntimeError, ValueError) as error:
            names = ", ".join(str(item.path) for item in batch.items)
            for item in batch.items:
                if item.name in batch.pending and item.name in counts:
                    batch.fail(item, ValueError(f"{names}: {error}"))
            return batch
        own = {name: list(islice(results, count)) for name, count in counts.items()}
        batch.results = {name: pages for name, pages in own.items() if name in batch.pending}
        return batch

    def film(self, batch: Batch, segmenter: Segmenter, num_threads: int) -> Batch:
        """Segment and write the videos, one frame after another."""
        for item in batch.items:
            if item.is_video and item.name in batch.pending:
                try:
                    with (
                        threads(num_threads),
                        _timed(batch),
                        fetched(item.path) as path,
                        delivering(self.folder) as folder,
                    ):
                        outputs, areas = segment_video(segmenter, path, folder, name=item.name, how=self.how)
                except (MemoryError, OSError, RuntimeError, ValueError) as error:
                    _refuse(batch, item, error)
                else:
                    self._finish(batch, item, {OUTPUTS: outputs, "areas": dict(areas), "remarks": []})
        return batch

    def write(self, batch: Batch) -> Batch:
        """Refine the results if the CRF is still to come, and write them."""
        for item in batch.items:
            results = batch.results.pop(item.name, None)
            if results:
                try:
                    with _timed(batch), delivering(self.folder) as folder:
                        if batch.is_unrefined:
                            results = [refined(result, self.how) for result in results]
                        outputs = self._written(item.name, results, folder)
                except (MemoryError, OSError, RuntimeError, ValueError) as error:
                    _refuse(batch, item, error)
                else:
                    areas = sum((Counter(result.areas) for result in results), Counter[str]())
                    remarks = sorted({remark for result in results for remark in result.remarks})
                    self._finish(batch, item, {OUTPUTS: outputs, "areas": dict(areas), "remarks": remarks})
        return batch

    def _written(self, name: str, results: Sequence[SegmentationResult], folder: Path) -> list[str]:
        names = [name] if len(results) == 1 else [f"{name}_page{number:04d}" for number in range(1, len(results) + 1)]
        each = (write_result(result, folder, own, self.kinds) for own, result in zip(names, results, strict=True))
        return [path for paths in each for path in paths]

    def _finish(self, batch: Batch, item: Item, outcome: dict[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        own = {"time": now, "seconds": round(batch.seconds, 3), "name": item.name, "input": str(item.path)}
        batch.outcomes[item.name] = outcome | own | batch.origins[item.name]


def _refuse(batch: Batch, item: Item, error: Exception) -> None:
    """Note that the results of a file cannot be written; the run ends if those of the next one cannot be either."""
    if isinstance(error, PermissionError) or (isinstance(error, OSError) and error.errno in HOPELESS):
        sentence = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        batch.outcomes[item.name] = {END: sentence}
    else:
        batch.fail(item, error)
