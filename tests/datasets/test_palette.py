import numpy as np

from deeplab_lightning.datasets.palette import PALETTE, colorize


def test_voc_palette() -> None:
    colours = {0: [0, 0, 0], 1: [128, 0, 0], 15: [192, 128, 128], 20: [0, 64, 128], 255: [224, 224, 192]}
    assert PALETTE.shape == (256, 3)
    assert PALETTE[[*colours]].tolist() == [*colours.values()]
    assert colorize(np.array([[15, 255]], np.uint8)).tolist() == [[colours[15], colours[255]]]
