from pathlib import Path

import numpy as np

from deeplab_lightning.datasets.folder import FolderDataset
from deeplab_lightning.datasets.show import GAP, NUM_AUGMENTED, grid
from deeplab_lightning.datasets.transforms import TrainTransform
from deeplab_lightning.palette import Palette

PALETTE = Palette.generated(("background", *"abcdefg"))


def test_a_row_shows_an_image_and_its_augmentations(shapes_root: Path) -> None:
    transform = TrainTransform((32, 40), (1.0, 1.0), flip=True, color_jitter=0.0, mean=(0.5,) * 3, std=(0.25,) * 3)
    dataset = FolderDataset(shapes_root, "train", 8, transform)
    picture = np.asarray(grid(dataset, [4, 2], transform, PALETTE))
    height, width = 48 + GAP, 64 + GAP
    assert picture.shape == (2 * height - GAP, 2 * (1 + NUM_AUGMENTED) * width - GAP, 3)
    for row, index in enumerate((4, 2)):
        image, mask = dataset.pair(index)
        shown = picture[row * height :][:48]
        assert np.array_equal(shown[:, :64], np.asarray(image))
        assert np.array_equal(shown[:, width:][:, :64], PALETTE.table()[np.asarray(mask)])
        for epoch in range(NUM_AUGMENTED):
            target = dataset[(index, epoch)]["mask"].numpy().astype(np.uint8)
            tile = shown[:, (3 + 2 * epoch) * width :]
            assert np.array_equal(tile[:32, :40], PALETTE.table()[target])
            assert (tile[32:, :40] == 255).all()  # a smaller tile is surrounded by white
