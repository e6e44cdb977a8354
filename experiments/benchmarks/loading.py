"""Training samples per second of this project's data set, and of torchvision's VOCSegmentation with transforms.v2.

Both decode, scale by 0.5 to 2, crop 513x513 with padding, flip and normalise the same images in one process and one
thread. Processor time is measured, so other programs on the machine have little effect. A second table says where this
project's time goes, and a third compares two loader processes with two threads, in elapsed time.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, default_collate
from torchvision import tv_tensors
from torchvision.datasets import VOCSegmentation, wrap_dataset_for_transforms_v2
from torchvision.transforms import v2

from deeplab_lightning.datasets.pixels import read_pixels
from deeplab_lightning.datasets.shapes import generate
from deeplab_lightning.datasets.transforms import NORMALIZATIONS, TrainTransform
from deeplab_lightning.datasets.voc import VOCDataset

NUM_IMAGES, ROUNDS, BATCH_SIZE, CROP, SCALES = 60, 5, 4, 513, (0.5, 2.0)
MEAN, STD, _ = NORMALIZATIONS["imagenet"]
PADDING = [round(255 * value) for value in MEAN]


class RandomScale(v2.Transform):  # type: ignore[misc]
    """Scale image and mask by one random factor."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the scale factor."""
        height, width = v2.functional.get_size(flat_inputs[0])
        scale = float(torch.empty(()).uniform_(*SCALES))
        return {"size": [int(height * scale), int(width * scale)]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Resize an image or a mask."""
        return v2.functional.resize(inpt, params["size"])


def torchvision_pipeline(root: Path, tensors: bool) -> Callable[[int], object]:
    """A function that loads torchvision's sample of an index, transformed as PIL image or as tensor."""
    fill = {tv_tensors.Mask: 255, "others": PADDING if tensors else tuple(PADDING)}
    transforms = v2.Compose(
        [
            *([v2.ToImage()] if tensors else []),
            RandomScale(),
            v2.RandomCrop(CROP, pad_if_needed=True, fill=fill),
            v2.RandomHorizontalFlip(),
            *([] if tensors else [v2.ToImage()]),
            v2.ToDtype({tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None}, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    dataset = wrap_dataset_for_transforms_v2(VOCSegmentation(root, image_set="train", transforms=transforms))
    return lambda index: dataset[index]


def own_dataset(root: Path) -> VOCDataset:
    """This project's data set with the same transform."""
    transform = TrainTransform((CROP, CROP), SCALES, flip=True, color_jitter=0.0, mean=MEAN, std=STD)
    return VOCDataset(root / "VOCdevkit" / "VOC2012", "train", transform)


def seconds_per_image(loads: Mapping[str, Callable[[int], object]]) -> dict[str, NDArray[np.float64]]:
    """The processor seconds for an image of each function in several rounds, in turn, after a warm-up round."""
    seconds: dict[str, list[float]] = {name: [] for name in loads}
    for _ in range(ROUNDS + 1):
        for name, load in loads.items():
            start = time.process_time()
            for index in range(NUM_IMAGES):
                load(index)
            seconds[name].append((time.process_time() - start) / NUM_IMAGES)
    return {name: np.array(each[1:]) for name, each in seconds.items()}


def parts(dataset: VOCDataset) -> dict[str, Callable[[int], object]]:
    """The parts of this project's pipeline, as functions of an index."""
    samples = [dataset.pair(index) for index in range(NUM_IMAGES)]
    rng = np.random.default_rng(0)
    return {
        "reading the bytes of both files": lambda index: (
            dataset.images[index].read_bytes(),
            dataset.mask_files[index].read_bytes(),
        ),
        "decoding the image (JPEG)": lambda index: read_pixels(dataset.images[index]),
        "decoding and checking the mask (PNG)": dataset.mask,
        "scaling, flip, crop, normalisation": lambda index: dataset.transform(*samples[index], rng),
    }


def loaded_by_two(dataset: VOCDataset) -> dict[str, float]:
    """The images per second of elapsed time, in batches, of two loader processes and of two threads."""
    epochs = [(index, epoch) for epoch in range(ROUNDS + 1) for index in range(NUM_IMAGES)]
    batches = [epochs[start : start + BATCH_SIZE] for start in range(0, len(epochs), BATCH_SIZE)]

    def rate(loaded: Iterable[object]) -> float:
        iterator = iter(loaded)
        for _ in range(NUM_IMAGES // BATCH_SIZE):  # the start of the processes is not counted
            next(iterator)
        start = time.perf_counter()
        count = sum(1 for _ in iterator)
        return count * BATCH_SIZE / (time.perf_counter() - start)

    processes = rate(DataLoader(dataset, batch_sampler=batches, num_workers=2))
    with ThreadPoolExecutor(2) as pool:
        threads = rate(pool.map(lambda keys: default_collate([dataset[key] for key in keys]), batches))
    return {"two processes": processes, "two threads": threads}


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        root = Path(folder)
        generate(root / "VOCdevkit" / "VOC2012", {"train": NUM_IMAGES}, (375, 500))
        dataset = own_dataset(root)
        pipelines = {
            "deeplab_lightning": lambda index: dataset[(index, 0)],
            "torchvision, PIL images": torchvision_pipeline(root, tensors=False),
            "torchvision, tensors": torchvision_pipeline(root, tensors=True),
        }
        seconds = seconds_per_image(pipelines)
        own = seconds["deeplab_lightning"]
        print("| pipeline | images/s | ours is faster by |\n|---|---|---|")
        for name, theirs in seconds.items():
            print(f"| {name} | {1 / np.median(theirs):.0f} | {np.median(theirs / own):.2f} |")
        print("\n| part | ms per image |\n|---|---|")
        for name, each in seconds_per_image(parts(dataset)).items():
            print(f"| {name} | {1e3 * np.median(each):.2f} |")
        print("\n| loaded by | images/s |\n|---|---|")
        for name, rate in loaded_by_two(dataset).items():
            print(f"| {name} | {rate:.0f} |")


if __name__ == "__main__":
    main()
