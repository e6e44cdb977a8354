"""Training samples per second of this project's data set, and of torchvision's VOCSegmentation with transforms.v2.

Both decode, scale by 0.5 to 2, crop 513x513 with padding, flip and normalise the same images in one process and one
thread. Processor time is measured, so other programs on the machine have little effect.
"""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.datasets import VOCSegmentation, wrap_dataset_for_transforms_v2
from torchvision.transforms import v2

from deeplab_lightning.datasets.shapes import generate
from deeplab_lightning.datasets.transforms import NORMALIZATIONS, TrainTransform
from deeplab_lightning.datasets.voc import VOCDataset

NUM_IMAGES, ROUNDS, CROP, SCALES = 60, 5, 513, (0.5, 2.0)
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


def own_pipeline(root: Path) -> Callable[[int], object]:
    """A function that loads this project's sample of an index."""
    transform = TrainTransform((CROP, CROP), SCALES, flip=True, color_jitter=0.0, mean=MEAN, std=STD)
    dataset = VOCDataset(root / "VOCdevkit" / "VOC2012", "train", transform)
    return lambda index: dataset[(index, 0)]


def images_per_second(load: Callable[[int], object]) -> float:
    """The median images per second of several rounds over all images, after a warm-up round."""
    seconds = []
    for _ in range(ROUNDS + 1):
        start = time.process_time()
        for index in range(NUM_IMAGES):
            load(index)
        seconds.append(time.process_time() - start)
    return NUM_IMAGES / float(np.median(seconds[1:]))


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        root = Path(folder)
        generate(root / "VOCdevkit" / "VOC2012", {"train": NUM_IMAGES}, (375, 500))
        own = images_per_second(own_pipeline(root))
        print("| pipeline | images/s | ours is faster by |\n|---|---|---|")
        print(f"| deeplab_lightning | {own:.0f} | |")
        for name, tensors in (("PIL images", False), ("tensors", True)):
            theirs = images_per_second(torchvision_pipeline(root, tensors))
            print(f"| torchvision, {name} | {theirs:.0f} | {own / theirs:.2f} |")


if __name__ == "__main__":
    main()
