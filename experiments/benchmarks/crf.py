"""Speed and memory of the dense CRF: engines, worker pool, label pruning. Every ratio comes from one run.

    python experiments/benchmarks/crf.py [--images N] [--large]

VOC: the images of voc_samples with smoothed ground truth and noise as probabilities, 21 labels. CamVid: images of its
validation split, 11 labels. Both are read from the folder that DEEPLAB_DATA names.
"""

import argparse
import json
import os
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf.lattice import PermutohedralLattice
from deeplab_lightning.crf.mean_field import appearance_kernel, smoothness_kernel
from deeplab_lightning.crf.pool import CRFPool
from deeplab_lightning.crf.published import DEEPLAB_V2_RESNET101
from deeplab_lightning.processors import count_processors

PRUNED = 0.1
"""Probability that a label must reach somewhere in an image to be kept by the pruned runs."""

Pair = tuple[NDArray[np.uint8], NDArray[np.float32]]
Timed = tuple[float, list[NDArray[np.int64]]]
"""Seconds per image, and the predictions."""


def read(root: Path, image_ids: list[str], num_classes: int) -> list[Pair]:
    """Images (H, W, 3), and probabilities (K, H, W) of their smoothed masks with noise of stride 8; void is class 0."""
    pairs = []
    for seed, image_id in enumerate(image_ids):
        image = np.array(Image.open(root / "JPEGImages" / f"{image_id}.jpg").convert("RGB"))
        target = torch.from_numpy(np.array(Image.open(root / "SegmentationClass" / f"{image_id}.png"))).long()
        labels = F.one_hot(target.where(target < num_classes, 0), num_classes).float()
        scores = 10 * F.avg_pool2d(labels.permute(2, 0, 1)[None], 17, 1, 8)
        grid = (len(target) // 8 + 1, target.shape[1] // 8 + 1)
        noise = torch.randn(1, num_classes, *grid, generator=torch.Generator().manual_seed(seed))
        noise = 0.5 * F.interpolate(noise, target.shape, mode="bilinear")
        pairs.append((image, (scores + noise).softmax(1)[0].numpy()))
    return pairs


def seconds_per_image(crf: DenseCRF, pairs: list[Pair]) -> Timed:
    """The seconds per image, one image at a time after an untimed one, and the predictions."""
    crf(*pairs[0]).argmax(0)
    start = time.perf_counter()
    predictions = [crf(*pair).argmax(0) for pair in pairs]
    return (time.perf_counter() - start) / len(pairs), predictions


def seconds_per_image_of_pool(crf: DenseCRF, pairs: list[Pair], num_workers: int) -> Timed:
    """The seconds per image through a pool whose workers have started, and the predictions."""
    with CRFPool(crf, num_workers) as pool:
        for future in [pool.submit(*pairs[0], "first") for _ in range(num_workers)]:
            pool.result(future)
        start = time.perf_counter()
        futures = [pool.submit(*pair, str(number)) for number, pair in enumerate(pairs)]
        predictions = [pool.result(future)[0].astype(np.int64) for future in futures]
        return (time.perf_counter() - start) / len(pairs), predictions


def compare(name: str, pairs: list[Pair], num_cores: int) -> list[dict[str, object]]:
    """Time every method of running the CRF, and compare it with plain pydensecrf calls, one image at a time.

    Args:
        name: Name of the data in the table.
        pairs: Images and probabilities.
        num_cores: Number of processes and of threads.
    """
    plain, pruned = DEEPLAB_V2_RESNET101, replace(DEEPLAB_V2_RESNET101, min_probability=PRUNED)

    def by_torch(crf: DenseCRF, num_threads: int) -> Callable[[], Timed]:
        def timed() -> Timed:
            torch.set_num_threads(num_threads)
            return seconds_per_image(crf, pairs)

        return timed

    reference, pruned_reference = (replace(crf, engine="pydensecrf") for crf in (plain, pruned))
    pool, pruned_pool = f"pydensecrf, pool of {num_cores}", f"pydensecrf, pruned, pool of {num_cores}"
    ways: dict[str, Callable[[], Timed]] = {
        "pydensecrf, plain calls": lambda: seconds_per_image(reference, pairs),
        pool: lambda: seconds_per_image_of_pool(reference, pairs, num_cores),
        "pydensecrf, pruned": lambda: seconds_per_image(pruned_reference, pairs),
        pruned_pool: lambda: seconds_per_image_of_pool(pruned_reference, pairs, num_cores),
        "torch, 1 thread": by_torch(plain, 1),
        f"torch, {num_cores} threads": by_torch(plain, num_cores),
        f"torch, pruned, {num_cores} threads": by_torch(pruned, num_cores),
    }
    rows: list[dict[str, object]] = []
    expected: list[NDArray[np.int64]] = []
    base = 0.0
    for way, timed in ways.items():
        seconds, predictions = timed()
        expected, base = expected or predictions, base or seconds
        agreement = np.mean([np.mean(ours == theirs) for ours, theirs in zip(predictions, expected, strict=True)])
        rows.append(
            {"data": name, "way": way, "seconds": seconds, "times": base / seconds, "agreement": float(agreement)}
        )
        print(f"{name:8} {way:32} {seconds:7.3f} s/image  {base / seconds:5.2f} x  labels {agreement:.5%}", flush=True)
    return rows


def memory_traffic(image: NDArray[np.uint8], num_classes: int) -> float:
    """The bytes that the iterations on an image move if every array is read or written once per step.

    A step of a filter reads its table of float32 values and its indices and weights, and writes the next table.
    """
    settings = DEEPLAB_V2_RESNET101
    height, width, _ = image.shape
    pixels, row = height * width, 4 * num_classes
    total = 0
    for kernel in (
        smoothness_kernel((1, height, width), DEEPLAB_V2_RESNET101.gaussian_xy, torch.device("cpu"), "after"),
        appearance(image),
    ):
        points, axes = len(kernel.starts), len(kernel.neighbours)
        splat = pixels * row + points * row + kernel.points.numel() * 8
        blur = axes * points * (2 * row + 12)
        total += splat + blur + points * row + pixels * row + kernel.vertices.numel() * 8
    total += 4 * pixels * row  # the two sums, the unary energy, the softmax
    return float(settings.iterations * total)


def appearance(image: NDArray[np.uint8]) -> PermutohedralLattice:
    """The appearance kernel of an image."""
    ranges = DEEPLAB_V2_RESNET101.bilateral_xy, DEEPLAB_V2_RESNET101.bilateral_rgb
    return appearance_kernel(torch.from_numpy(image)[None], *ranges, "after")


def copy_speed(values: int, device: torch.device) -> float:
    """The bytes per second that a device, or torch's threads, read and write to copy an array of float32 values."""
    source = torch.rand(values, device=device)
    copy = torch.empty_like(source)

    def copied() -> None:
        copy.copy_(source)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return 2 * source.nbytes / least_seconds(copied)


def least_seconds(function: Callable[[], object]) -> float:
    """The least seconds of seven calls, after one more."""
    function()
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def print_bound(name: str, image: NDArray[np.uint8], num_classes: int) -> None:
    """Print the seconds that the iterations take at least, and those of the lattice that comes before them."""
    traffic, speed = memory_traffic(image, num_classes), copy_speed(50_000_000, torch.device("cpu"))
    build = least_seconds(lambda: appearance(image))
    print(
        f"{name:8} iterations move {traffic / 1e9:.2f} GB, at least {traffic / 4.8e12 * 1e3:.2f} ms at 4.8 TB/s (H200)"
    )
    print(
        f"{name:8} and {traffic / speed:.3f} s at {speed / 1e9:.1f} GB/s, a copy's speed here; lattice {build:.3f} s",
        flush=True,
    )


def large(num_classes: int = 19) -> float:
    """Peak memory in GiB of this process, which does nothing else, for one image of 2048x1024 pixels."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (64, 128, 3), np.uint8))
    image = np.array(small.resize((2048, 1024), Image.Resampling.BICUBIC))
    scores = F.interpolate(torch.randn(1, num_classes, 64, 128), (1024, 2048), mode="bilinear")
    start = time.perf_counter()
    DEEPLAB_V2_RESNET101(image, scores.softmax(1)[0].numpy())
    print(f"2048x1024, {num_classes} labels: {time.perf_counter() - start:.1f} s", flush=True)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Measure, print, and write the rows as JSON if a file is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=12, help="number of images of each data set; VOC's are repeated")
    parser.add_argument("--large", action="store_true", help="measure only the peak memory of one image of 2048x1024")
    parser.add_argument("--json", type=Path, help="file that the rows are written to")
    arguments = parser.parse_args()
    num_cores = count_processors()
    torch.set_num_threads(num_cores)
    if arguments.large:
        print(f"peak memory {large():.2f} GiB")
        return
    root = Path(os.environ.get("DEEPLAB_DATA", "data"))
    rows = []
    for name, num_classes, ids in (
        ("voc_samples", 21, ["2011_000003", "2011_000006", "2011_000025", "2007_000129"]),
        ("camvid", 11, (root / "camvid/ImageSets/Segmentation/val.txt").read_text().split()),
    ):
        pairs = list(islice(cycle(read(root / name, ids[: arguments.images], num_classes)), arguments.images))
        rows += compare(name, pairs, num_cores)
        torch.set_num_threads(num_cores)
        print_bound(name, pairs[0][0], num_classes)
    print(f"peak memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
