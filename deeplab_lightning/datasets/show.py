"""A picture of samples before and after augmentation."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from deeplab_lightning.datasets.segmentation import SegmentationDataset
from deeplab_lightning.datasets.transforms import TrainTransform
from deeplab_lightning.drawing import panel
from deeplab_lightning.palette import Palette

NUM_AUGMENTED = 3
TILE = 256


def grid(
    dataset: SegmentationDataset, indices: Sequence[int], transform: TrainTransform, palette: Palette
) -> Image.Image:
    """A grid with a legend under each row of one image: image and mask as stored, then as in three epochs of training.

    Args:
        dataset: Data set with the training transform.
        indices: Indices of the images.
        transform: Training transform, which also undoes its normalisation.
        palette: Names and colours of the classes.
    """
    rows = []
    for index in indices:
        image, mask = dataset.pair(index)
        row = {
            dataset.image_ids[index]: transform.denormalize(transform.normalize(image)).numpy(),
            "mask": np.asarray(mask),
        }
        for epoch in range(NUM_AUGMENTED):
            sample = dataset[(index, epoch)]
            row[f"epoch {epoch}"] = transform.denormalize(sample["image"]).numpy()
            row[f"mask in epoch {epoch}"] = sample["mask"].numpy()
        rows.append(row)
    return panel(rows, palette, largest=TILE)
