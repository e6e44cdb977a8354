"""Segmenting many files on a cluster, as a Ray Data pipeline of the same stages.

Actors hold the network, each on a GPU where there are any; processors read, refine with the CRF and write. Rows are
batches of files, and what comes back are their outcomes, which the program that started it records in the manifest. Ray
repeats the batches of a process or a node that dies.
"""

import json
import logging
import os
import socket
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch

from deeplab_lightning.extras import require
from deeplab_lightning.processors import count_processors
from deeplab_lightning.segmentation.inputs import Item
from deeplab_lightning.segmentation.manifest import Manifest
from deeplab_lightning.segmentation.pipeline import Division, Tally, batches, clear_drafts, divide
from deeplab_lightning.segmentation.segmenter import Segmenter
from deeplab_lightning.segmentation.stages import Batch, Stages

OF_NETWORK = 0.75
"""The share of a processor that a network on a CPU counts for. A task that reads and one that writes share the rest.
There are as many of each as processors at most: otherwise nothing is written before all is read."""
CONNECTING = 20.0
"""Seconds within which the cluster's address must answer."""
STORE = 256 << 20
"""Bytes for each processor of the memory that a local cluster shares between its processes."""
RETRIES, ROUNDS = 3, 2
"""Number of times that a batch is tried again after its process has died, and of rounds in which this happens: with a
node, all tries of a batch may be lost within a second."""
MOST_BLOCKS, LARGEST_BLOCK = 4096, 16
"""Number of tasks above which a task takes several batches, and the largest number that it takes."""

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_DATA_LOG_LEVEL": "CRITICAL"}
"""Ray sends no statistics, and does not log every execution and every error that it survives; unless it was told to."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Processor:
    """The stages in a process of the cluster.

    Args:
        stages: The stages.
        folder: Working directory, which relative paths start from.
        division: The numbers of threads of a network on a CPU.
    """

    stages: Stages
    folder: str
    division: Division

    def settle(self, threads: int = 1) -> None:
        """Take over the working directory, if this machine has it, and the number of threads."""
        with suppress(OSError):
            os.chdir(self.folder)
        torch.set_num_threads(threads)

    def read(self, row: Row) -> Row:
        """Read a batch."""
        self.settle()
        return {"batch": self.stages.read(row["batch"])}

    def write(self, row: Row) -> Row:
        """Write a batch, and return its outcomes as JSON."""
        self.settle()
        return {"outcomes": json.dumps(self.stages.write(row["batch"]).outcomes)}


class Network:
    """An actor that holds the network.

    Args:
        processor: The stages.
        model: Ray's reference to the model, in a list.
        device: Device that the network runs on.
    """

    def __init__(self, processor: Processor, model: list[Any], device: str) -> None:
        import ray

        processor.settle(processor.division.threads)
        self.stages, self.division = processor.stages, processor.division
        self.segmenter: Segmenter = ray.get(model[0]).to(device)

    def __call__(self, row: Row) -> Row:
        """Segment a batch. Videos and images by tiles are written here, because they can be as large as the disk."""
        batch = self.stages.segment(row["batch"], self.segmenter)
        results = [result for pages in batch.results.values() for result in pages]
        if any(self.segmenter.tiling(result.mask.shape, self.stages.how) for result in results):
            batch = self.stages.write(batch)
        return {"batch": self.stages.film(batch, self.segmenter, self.division.of_video)}


class RayPipeline:
    """Segments files into a folder on a cluster: the one that RAY_ADDRESS names, or the processors of this machine.

    Args:
        segmenter: The model, on the CPU.
        stages: The stages, with the CRF in writing.
        device: Device that the network runs on: "cpu", "cuda", or "auto" for GPUs if the cluster has any.
        workers: Largest number of actors with the network; one for each GPU, or each processor, if not given.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ValueError: There is no such device in a cluster.
    """

    def __init__(
        self, segmenter: Segmenter, stages: Stages, *, device: str = "auto", workers: int | None = None
    ) -> None:
        require("ray", "--engine ray")
        if device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"--engine ray places networks itself: --device is auto, cpu or cuda, but got {device}")
        self.segmenter, self.stages, self.device, self.workers = segmenter, stages, device, workers

    def run(self, items: Sequence[Item], manifest: Manifest, on_progress: Callable[[int], None]) -> Tally:
        """Segment files; what the manifest has is left out.

        An interruption (Ctrl-C) leaves whole files only.

        Args:
            items: The files.
            manifest: The record of finished files.
            on_progress: Function that is called with the number of files just finished, skipped or failed.

        Raises:
            OSError: The output folder or the manifest cannot be written.
            RuntimeError: The cluster cannot be reached, or fails as a whole.
        """
        tally, left = Tally(), {item.name: item for item in items}
        if not items:  # a shard may have none
            return tally
        clear_drafts(self.stages.folder, items)
        try:
            with cluster() as ray:
                for _ in range(ROUNDS):
                    for outcomes in self._outcomes(ray, items, left, manifest):
                        own = [name for name in outcomes if left.pop(name, None) is not None]
                        for name in own:
                            tally.count(outcomes[name], manifest)
                        on_progress(len(own))
        finally:
            manifest.tidy()
            clear_drafts(self.stages.folder, list(left.values()))
        died = "the processes that had it died, as they do without enough memory; the next start tries again"
        tally.failed += [f"{item.path}: {died}" for item in left.values()]
        on_progress(len(left))
        return tally

    def _outcomes(
        self, ray: Any, items: Sequence[Item], left: Collection[str], manifest: Manifest
    ) -> Iterator[dict[str, dict[str, Any]]]:
        """Yield the outcomes by names of all batches with a file that is left, in the order in which they finish."""
        chunks = [each for each in batches(items, self.stages.batch_size) if any(item.name in left for item in each)]
        if not chunks:
            return
        from ray.data import ActorPoolStrategy, DataContext, TaskPoolStrategy, from_items

        on_gpu, processors, division = self._placed(ray, items)
        of_files: dict[str, Any] = {
            "compute": TaskPoolStrategy(size=processors),
            "num_cpus": (1 if on_gpu else 1 - OF_NETWORK) / 2,
            "ray_remote_args_fn": lambda: {"max_retries": RETRIES},
        }
        processor = Processor(self.stages, os.getcwd(), division)
        model = [ray.put(self.segmenter)]  # in a list, because Ray replaces a bare reference by what it stands for
        rows = [{"batch": Batch(chunk, {item.name: manifest.origin(item.name) for item in chunk})} for chunk in chunks]
        context = DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # the files of a block that keeps failing are reported, and the rest is done
        with warnings.catch_warnings(action="ignore"):  # Ray 2.60 has no other way to bound the retries
            dataset = (
                from_items(rows, override_num_blocks=max(1, len(rows) // block_size(len(rows))))
                .map(processor.read, **of_files)
                .map(
                    Network,  # type: ignore[arg-type]  # Ray makes an actor of a class, and calls that
                    fn_constructor_args=(processor, model, "cuda" if on_gpu else "cpu"),
                    compute=ActorPoolStrategy(size=min(division.workers, len(rows))),
                    num_cpus=None if on_gpu else OF_NETWORK * division.threads,
                    num_gpus=1 if on_gpu else None,
                    ray_remote_args_fn=lambda: {"max_task_retries": RETRIES},
                )
                .map(processor.write, **of_files)
            )
        try:
            for row in dataset.iter_rows():
                yield json.loads(row["outcomes"])
        except ray.exceptions.RayError as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise RuntimeError(f"the cluster failed: {lines[-1] if lines else type(error).__name__}") from error

    def _placed(self, ray: Any, items: Sequence[Item]) -> tuple[bool, int, Division]:
        """Return whether networks run on GPUs, and the cluster's processors, as a number and divided among networks.

        No network has more threads than the smallest node has processors.
        """
        there = ray.cluster_resources()
        gpus, processors = int(there.get("GPU", 0)), max(1, int(there.get("CPU", 1)))
        has_weights = next(self.segmenter.network.parameters(), None) is not None  # ONNX graphs run on CPUs alone
        on_gpu = self.device == "cuda" or (self.device == "auto" and gpus > 0 and has_weights)
        if on_gpu and not (gpus and has_weights):
            raise RuntimeError("--device cuda needs a cluster with GPUs, and a checkpoint in place of an ONNX file")
        of_nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        smallest = min((number for number in of_nodes if number), default=1)
        actors = self.workers or (gpus if on_gpu else processors)
        return on_gpu, processors, divide(items, self.stages.batch_size, actors, processors, limit=smallest)


def block_size(num_batches: int) -> int:
    """Return the number of batches that one task takes."""
    return min(LARGEST_BLOCK, 1 + num_batches // MOST_BLOCKS)


@contextmanager
def cluster() -> Iterator[Any]:
    """Yield the module `ray`, connected to the cluster of RAY_ADDRESS, or to one that is started and ended here.

    Raises:
        RuntimeError: There is no cluster at RAY_ADDRESS.
    """
    address, processors = os.environ.get("RAY_ADDRESS"), count_processors()
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if port.isdigit():
        try:  # Ray would try for many minutes
            socket.create_connection((host, int(port)), CONNECTING).close()
        except OSError as error:
            raise RuntimeError(f"no cluster of Ray at RAY_ADDRESS {address}: {error.strerror or error}") from error
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray.data

    logging.getLogger("ray.data").setLevel(os.environ["RAY_DATA_LOG_LEVEL"])
    own: dict[str, Any] = {
        "num_cpus": processors,
        "object_store_memory": processors * STORE,
        "include_dashboard": False,
    }
    try:
        settings = {} if address else own
        ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **settings)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise RuntimeError(f"no cluster of Ray at {address or 'this machine'}: {error}") from error
    try:
        yield ray
    finally:
        ray.shutdown()
