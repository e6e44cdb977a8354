"""Label maps by tiles against those of whole images: how many labels differ, and whether tiles are worse.

The validation images of a data set in the VOC layout are joined to one large image, so that the labels of all of it are
known. It is segmented as a whole, and by tiles of several sides.

    .venv/bin/python experiments/benchmarks/tiles.py runs/demo/best.ckpt data/shapes [--side 10] [--tiles 256 512 1024]
"""

import argparse
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from deeplab_lightning.metrics import ConfusionMatrix, mean_iou
from deeplab_lightning.segmentation.loading import load


def mosaic(root: Path, side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Join the first images of equal size and their masks, `side` in a row and in a column, to RGB and label map."""
    names = (root / "ImageSets" / "Segmentation" / "val.txt").read_text().split()
    images, masks = [], []
    for name in islice(names, side * side):
        images.append(np.asarray(Image.open(root / "JPEGImages" / f"{name}.jpg")))
        masks.append(np.asarray(Image.open(root / "SegmentationClass" / f"{name}.png")))
    if len(images) < side * side or len({image.shape for image in images}) > 1:
        raise SystemExit(f"{root}: {side * side} validation images of equal size are needed")
    rows = [slice(start, start + side) for start in range(0, side * side, side)]
    return tuple(np.vstack([np.hstack(parts[row]) for row in rows]) for parts in (images, masks))  # type: ignore[return-value]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path, help="folder in the VOC layout")
    parser.add_argument("--side", type=int, default=10, help="number of images in a row; default: 10")
    parser.add_argument("--tiles", type=int, nargs="+", default=[256, 512, 1024], help="sides of the tiles")
    parser.add_argument("--crf", help="name of a CRF setting, as for `deeplab segment`")
    options = parser.parse_args()
    model = load(options.checkpoint, device="cpu")
    pixels, target = mosaic(options.data, options.side)
    height, width = (length // 32 * 32 - 31 * model.network.align_corners for length in target.shape)
    pixels, target = pixels[:height, :width], target[:height, :width]
    print(f"{model.description.network}, {width}x{height} pixels, CRF {options.crf}")
    print("| tiles | labels that differ | largest difference of a probability | mIoU | s |")
    whole = model.segment(pixels[:64, :64], tile=None, crf=options.crf)
    for tile in (None, *options.tiles):
        start = time.perf_counter()
        result = model.segment(pixels, tile=tile, crf=options.crf)
        seconds = time.perf_counter() - start
        if tile is None:
            whole = result
        matrix = ConfusionMatrix(len(model.class_names))
        matrix.update(*(torch.from_numpy(each.astype(np.int64))[None] for each in (result.mask, target)))
        score = mean_iou(matrix.compute())
        assert whole.probabilities is not None
        assert result.probabilities is not None
        largest = max(np.abs(a - b).max() for a, b in zip(whole.probabilities, result.probabilities, strict=True))
        different = (result.mask != whole.mask).mean()
        print(f"| {tile or 'whole'} | {different:.3%} | {largest:.3f} | {score:.4f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
