"""Give mutated inputs to every reader of the package, and count the outcomes.

    python experiments/attacks/inputs.py [--minutes 1] [--seed 0] [--kinds image mask ...] [--out attacked]

Images, pictures for a model, masks, MATLAB files, COCO annotations, id lists, class files, tables, checkpoints and
models are damaged at random and read in a worker process with limits on memory and time. Real files are taken from the
folder that DEEPLAB_DATA names, if it exists. A reader may accept an input, or refuse it in one line that names the
file. Everything else is a fault: the worker dies or does not end, it takes more than a gibibyte, the error does not
name the file, or there is a warning. The program prints a table and keeps the first inputs with a fault in --out; the
exit status is then 1. An input depends only on the seed, its kind and its number, so --count repeats a run input by
input.
"""

import argparse
import ctypes
import gc
import os
import random
import resource
import shutil
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from mutations import damaged, damaged_image, damaged_json, damaged_model, damaged_yaml
from samples import Sample, checkpoint, class_files, coco, files, images, lists, masks, matlab_files, model, pictures

from deeplab_lightning import load
from deeplab_lightning.ablation.plan import plan_table
from deeplab_lightning.ablation.table import read_table
from deeplab_lightning.callbacks.checkpoint_io import AtomicCheckpointIO
from deeplab_lightning.datasets.class_names import read_class_names, read_label_map
from deeplab_lightning.datasets.coco import COCODataset
from deeplab_lightning.datasets.images import read_mask
from deeplab_lightning.datasets.pixels import read_pixels
from deeplab_lightning.datasets.sbd import read_sbd_mask
from deeplab_lightning.datasets.segmentation import read_ids
from deeplab_lightning.datasets.transforms import EvaluationTransform
from deeplab_lightning.segmentation.segmenter import Method
from deeplab_lightning.segmentation.writers import write_result

EXPERIMENTS = Path(__file__).parents[1]
FAULTS = ("crash", "hang", "memory", "no file's name", "warning")
OUTCOMES = ("accepted", "refused", *FAULTS)
SECONDS, MEMORY = 30, 1 << 30
LARGEST = 64
"""Side in pixels of the part of a picture that is segmented."""
KEPT = 20
"""Number of inputs that are kept for each kind and fault."""


class Kind(NamedTuple):
    """One kind of input.

    Args:
        samples: Sound inputs.
        mutate: Function that damages an input.
        read: The package's reader of a file.
    """

    samples: list[Sample]
    mutate: Callable[[random.Random, bytes], bytes]
    read: Callable[[Path], object]


def kinds(root: Path, real: Path) -> dict[str, Kind]:
    """All kinds of inputs, by name.

    Args:
        root: Folder that their files are written to.
        real: Folder that may hold real samples.
    """
    shutil.copytree(EXPERIMENTS, root / "table", ignore=shutil.ignore_patterns("results", "*.py", "*.md"))
    tables = sorted((EXPERIMENTS / "ablations").glob("*.yaml"))
    photographs = files(real, "coco_samples/*/*1.jpg", "camvid/JPEGImages/*0.png")
    return {
        "image": Kind(images() + photographs, damaged_image, read_pixels),
        "picture": Kind(pictures(), damaged_image, Segmenting(root / "model.ckpt")),
        "mask": Kind(masks() + files(real, "voc_aug_masks/*/*1.png"), damaged_image, lambda path: read_mask(path, 21)),
        "MATLAB file": Kind(matlab_files(root), damaged, read_sbd_mask),
        "COCO annotations": Kind([coco(root / "COCO annotations")], damaged_json, read_coco),
        "id list": Kind(lists() + files(real, "voc_lists/val.txt"), damaged, lambda path: read_ids(path, "the ids")),
        "class file": Kind(class_files(), damaged, read_classes),
        "table": Kind([(f"ablations/{path.name}", path.read_bytes()) for path in tables], damaged_yaml, read_and_plan),
        "checkpoint": Kind([checkpoint(root)], damaged, lambda path: AtomicCheckpointIO().load_checkpoint(path)),
        "model": Kind([model()], damaged_model, load),
    }


class Segmenting:
    """Segments all pages of a file with a small model, and writes every kind of result.

    Args:
        path: File that the model's checkpoint is written to.
    """

    def __init__(self, path: Path) -> None:
        path.write_bytes(model()[1])
        self.model = load(path, device="cpu", value_range=(0, 4095))

    def __call__(self, path: Path) -> None:
        """Segment a file."""
        for picture in self.model.reader.read_all(path):
            small = replace(picture, pixels=picture.pixels[:LARGEST, :LARGEST])  # a damaged size costs no time
            (result,) = self.model.run([small], Method())
            write_result(result, path.parent / "out", "image")


def read_coco(path: Path) -> None:
    """Read annotations, and draw every mask that does not depend on the images."""
    dataset = COCODataset(path.parents[1], "train2017", EvaluationTransform((0.5,) * 3, (0.5,) * 3))
    for index in range(len(dataset)):
        dataset.mask(index)


def read_classes(path: Path) -> None:
    """Read the names of classes, and their colours or values."""
    read_class_names(path.parent)
    read_label_map(path.parent)


def read_and_plan(path: Path) -> None:
    """Read a table, and plan it at every scale as far as its settings allow."""
    table = read_table(path)
    for scale in ("paper", "smoke"):
        for training in plan_table(table, scale).trainings:
            assert training.cost


def outcome(kind: Kind, path: Path) -> tuple[str, str]:
    """The outcome of reading a file, and the text of its error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", DeprecationWarning)  # it is about code, not about the input
        try:
            kind.read(path)
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            result = "refused" if str(path) in str(error) and "\n" not in str(error) else "no file's name"
        else:
            text, result = "", "accepted"
    return ("warning", str(caught[0].message)) if caught else (result, text)


def work(connection: Connection, root: Path, all_kinds: dict[str, Kind], seed: int) -> None:
    """Make and read the requested inputs with limited memory, in a worker process."""
    gc.freeze()  # to look through all objects of the program that started this one would take longer than to read
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 4 * MEMORY, size + 4 * MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        name, number = connection.recv()
        rng, kind = random.Random(f"{seed} {name} {number}"), all_kinds[name]
        file, content = rng.choice(kind.samples)
        path = root / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        connection.send(str(path))
        path.write_bytes(kind.mutate(rng, content))
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # malloc would give the reader what was freed before, which counts already
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the peak resident set size
        start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        result, text = outcome(kind, path)
        if (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - start > MEMORY:
            result = "memory"
        connection.send((result, text))


class Reader:
    """A worker that reads inputs one after the other, and is replaced when it dies.

    Args:
        root: Folder that inputs are written to.
        all_kinds: Kinds of inputs, by name.
        seed: Seed of the mutations.
    """

    def __init__(self, root: Path, all_kinds: dict[str, Kind], seed: int) -> None:
        self._context, self._arguments = get_context("fork"), (root, all_kinds, seed)
        self._start()

    def _start(self) -> None:
        self._connection, other = self._context.Pipe()
        self._process = self._context.Process(target=work, args=(other, *self._arguments), daemon=True)
        self._process.start()
        other.close()

    def read(self, name: str, number: int) -> tuple[str, str, Path]:
        """The outcome of an input, the text of its error, and its file."""
        self._connection.send((name, number))
        path = Path(self._connection.recv())
        try:
            result, text = self._connection.recv() if self._connection.poll(SECONDS) else ("hang", f"{SECONDS} seconds")
        except EOFError:
            self._process.join()
            result, text = "crash", f"status {self._process.exitcode}"
        if result in ("hang", "crash", "memory"):
            self.close()
            self._start()
        return result, text, path

    def close(self) -> None:
        """End the worker."""
        self._process.kill()
        self._process.join()
        self._connection.close()


def main(arguments: list[str] | None = None) -> int:
    """Read mutated inputs for a given time, and print the outcomes."""
    parser = argparse.ArgumentParser(description="Give mutated inputs to every reader of the package.")
    parser.add_argument("--minutes", type=float, default=1.0, help="duration in minutes; default: 1")
    parser.add_argument("--count", type=int, help="number of inputs of each kind, instead of --minutes")
    parser.add_argument("--seed", type=int, default=0, help="seed of the mutations; default: 0")
    parser.add_argument("--kinds", nargs="+", help="kinds of inputs; default: all")
    parser.add_argument("--out", type=Path, default=Path("attacked"), help="folder for faults; default: attacked")
    options = parser.parse_args(arguments)
    with TemporaryDirectory() as folder:
        all_kinds = kinds(Path(folder), Path(os.environ.get("DEEPLAB_DATA", "data")))
        names = options.kinds or list(all_kinds)
        if unknown := set(names) - set(all_kinds):
            parser.error(f"there is no kind {', '.join(sorted(unknown))}; the kinds are {', '.join(all_kinds)}")
        results = attack(Reader(Path(folder), all_kinds, options.seed), names, options)
    print_table(results, names)
    return 1 if any(results[name, fault] for name in names for fault in FAULTS) else 0


def attack(reader: Reader, names: list[str], options: argparse.Namespace) -> Counter[tuple[str, str]]:
    """Count the outcomes of each kind of input; print and keep the first inputs with a fault."""
    results: Counter[tuple[str, str]] = Counter()
    end = time.monotonic() + 60 * options.minutes
    for number in count() if options.count is None else range(options.count):
        for name in names:
            result, text, path = reader.read(name, number)
            results[name, result] += 1
            if result in FAULTS and results[name, result] <= KEPT:
                options.out.mkdir(parents=True, exist_ok=True)
                kept = options.out / f"{name}_{number}_{path.name}".replace(" ", "_")
                shutil.copy(path, kept)
                print(f"{kept}: {result}: {' '.join(text.split())[:300]}", file=sys.stderr)
        if options.count is None and time.monotonic() > end:
            break
    reader.close()
    return results


def print_table(results: Counter[tuple[str, str]], names: list[str]) -> None:
    """Print the counts in Markdown."""
    print("| input | " + " | ".join(("read", *OUTCOMES)) + " |")
    print("|---|" + "---:|" * (len(OUTCOMES) + 1))
    for name in names:
        numbers = [results[name, each] for each in OUTCOMES]
        print(f"| {name} | " + " | ".join(f"{number:,}" for number in (sum(numbers), *numbers)) + " |")


if __name__ == "__main__":
    sys.exit(main())
