from pathlib import Path

import numpy as np

from deeplab_lightning.datasets.folder import FolderDataset
from deeplab_lightning.datasets.shapes import PALETTE
from deeplab_lightning.datasets.show import NUM_AUGMENTED, grid
from deeplab_lightning.datasets.transforms import TrainTransform
from deeplab_lightning.drawing import GAP, colored, lettering

SCALE = 4  # of images of 48x64 pixels


def enlarged(pixels: np.ndarray) -> np.ndarray:
    return pixels.repeat(SCALE, 0).repeat(SCALE, 1)


def test_a_row_shows_an_image_and_its_augmentations(shapes_root: Path) -> None:
    transform = TrainTransform((48, 64), (1.0, 1.0), flip=True, color_jitter=0.0, mean=(0.5,) * 3, std=(0.25,) * 3)
    dataset = FolderDataset(shapes_root, "train", 8, transform)
    picture = np.asarray(grid(dataset, [4, 2], transform, PALETTE))
    across = 64 * SCALE + GAP
    assert picture.shape[1] == 2 * (1 + NUM_AUGMENTED) * across - GAP
    image, mask = dataset.pair(4)
    shown = picture[lettering(picture.shape[1]).line :][: 48 * SCALE]
    assert np.array_equal(shown[:, : 64 * SCALE], enlarged(np.asarray(image)))
    assert np.array_equal(shown[:, across:][:, : 64 * SCALE], colored(enlarged(np.asarray(mask)), PALETTE))
    for epoch in range(NUM_AUGMENTED):
        target = dataset[(4, epoch)]["mask"].numpy()
        tile = shown[:, (3 + 2 * epoch) * across :][:, : 64 * SCALE]
        assert np.array_equal(tile, colored(enlarged(target), PALETTE))
