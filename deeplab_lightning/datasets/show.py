"""A grid of samples before and after augmentation."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from deeplab_lightning.datasets.segmentation import SegmentationDataset
from deeplab_lightning.datasets.transforms import TrainTransform
from deeplab_lightning.palette import Palette

NUM_AUGMENTED = 3
TILE = 256
GAP = 4


def grid(
    dataset: SegmentationDataset, indices: Sequence[int], transform: TrainTransform, palette: Palette
) -> Image.Image:
    """A grid with one row for each image: image and mask as stored, then augmented as in three epochs of training.

    Args:
        dataset: Data set with the training transform.
        indices: Indices of the images.
        transform: Training transform, which also undoes its normalisation.
        palette: Colours of the classes.
    """
    table = palette.table()
    rows: list[list[Image.Image]] = []
    for index in indices:
        image, mask = dataset.pair(index)
        row = [image, Image.fromarray(table[np.asarray(mask)])]
        for epoch in range(NUM_AUGMENTED):
            sample = dataset[(index, epoch)]
            row += [
                Image.fromarray(transform.denormalize(sample["image"]).numpy()),
                Image.fromarray(table[sample["mask"].numpy()]),
            ]
        for tile in row:
            tile.thumbnail((TILE, TILE))
        rows.append(row)
    across, down = (GAP + max(tile.size[axis] for row in rows for tile in row) for axis in (0, 1))
    canvas = Image.new("RGB", (len(rows[0]) * across - GAP, len(rows) * down - GAP), "white")
    for y, row in enumerate(rows):
        for x, tile in enumerate(row):
            canvas.paste(tile, (x * across, y * down))
    return canvas
