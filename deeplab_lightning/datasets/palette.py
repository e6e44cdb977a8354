"""The 256 colours of PASCAL VOC's palette: one for each class, and void at 255."""

import numpy as np
from numpy.typing import NDArray


def _voc_palette() -> NDArray[np.uint8]:
    """VOC's colours (256, 3).

    The bits of an index are dealt out three at a time, lowest first, one each to red, green and blue; every channel is
    filled from its highest bit down.
    """
    index = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((index >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return palette


PALETTE = _voc_palette()


def colorize(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A label map (H, W) in VOC's colours (H, W, 3)."""
    return PALETTE[mask]
