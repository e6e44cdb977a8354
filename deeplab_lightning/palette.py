"""Colours of classes: PASCAL VOC's colour map, those of other data sets, the user's own, and generated ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from deeplab_lightning import IGNORE_INDEX

Color = tuple[int, int, int]
"""Red, green and blue, each in 0..255."""

BACKGROUND = "background"
"""The class that is black in generated colours, and that overlays leave clear."""

CAMVID_COLORS: tuple[Color, ...] = (
    (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0), (192, 128, 128),
    (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
)  # fmt: skip
"""CamVid's eleven classes, sky to bicyclist, as drawn by the SegNet tutorial (Scripts/test_segmentation_camvid.py)."""

CITYSCAPES_COLORS: tuple[Color, ...] = (
    (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153), (250, 170, 30),
    (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70),
    (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
)  # fmt: skip
"""Cityscapes' 19 training classes from road to bicycle (cityscapesScripts, helpers/labels.py)."""

FIRST_COLORS: tuple[Color, ...] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167)
)  # fmt: skip
"""Seven colours that colour-blind readers can tell apart too (Okabe and Ito, Color Universal Design, 2008)."""


def _voc_colors() -> NDArray[np.uint8]:
    """VOC's colours (256, 3).

    The bits of an index are dealt out three at a time, lowest first, one each to red, green and blue; every channel is
    filled from its highest bit down.
    """
    index = np.arange(256)
    colors = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colors[:, channel] |= (((index >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colors


VOC_COLORS = _voc_colors()
"""PASCAL VOC's 256 colours (256, 3): one for each class, and void at 255."""

VOC_VOID: Color = (224, 224, 192)


@dataclass(frozen=True)
class Palette:
    """The names and colours of the classes of a data set.

    Args:
        class_names: Names of the K classes.
        colors: Colours of the classes.
        void: Colour of void pixels, whose value is 255.

    Raises:
        ValueError: There is not one colour for each name, there are more classes than values below 255, or a colour is
            not three numbers in 0..255.
    """

    class_names: tuple[str, ...]
    colors: tuple[Color, ...]
    void: Color = VOC_VOID

    def __post_init__(self) -> None:
        if len(self.colors) != len(self.class_names):
            raise ValueError(f"{len(self.class_names)} classes need as many colours, but {len(self.colors)} are given")
        if len(self.colors) > IGNORE_INDEX:
            raise ValueError(f"a palette has at most {IGNORE_INDEX} classes, but {len(self.colors)} are given")
        for color in (*self.colors, self.void):
            if len(color) != 3 or not all(isinstance(value, int) and 0 <= value <= 255 for value in color):
                raise ValueError(f"a colour is three numbers in 0..255, got {color}")

    @classmethod
    def voc(cls, class_names: Sequence[str]) -> Self:
        """VOC's colour map for classes of any names."""
        colors = VOC_COLORS[: len(class_names)].tolist()
        return cls(tuple(class_names), tuple((red, green, blue) for red, green, blue in colors))

    @classmethod
    def generated(cls, class_names: Sequence[str]) -> Self:
        """Colours that can be told apart; black for a first class called background."""
        if class_names and class_names[0] == BACKGROUND:
            return cls(tuple(class_names), ((0, 0, 0), *distinct_colors(len(class_names) - 1)))
        return cls(tuple(class_names), distinct_colors(len(class_names)))

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """The palette that `as_dict` recorded."""
        colors = [tuple(color) for color in record["colors"]]
        return cls(tuple(record["class_names"]), tuple(colors), tuple(record["void"]))

    def as_dict(self) -> dict[str, Any]:
        """The palette as plain values, ready for JSON."""
        return {
            "class_names": list(self.class_names),
            "colors": [list(color) for color in self.colors],
            "void": list(self.void),
        }

    def table(self) -> NDArray[np.uint8]:
        """The colours (256, 3) of all values of an 8-bit label map; values that are no class have VOC's colours."""
        table = VOC_COLORS.copy()
        table[: len(self.colors)] = np.array(self.colors, np.uint8).reshape(-1, 3)
        table[IGNORE_INDEX] = self.void
        return table


@cache
def distinct_colors(count: int) -> tuple[Color, ...]:
    """Colours that differ as much as possible to the eye; fewer colours are the first of more.

    After `FIRST_COLORS`, each colour is the one of a grid with the largest distance in Oklab (Ottosson, 2020) from all
    before it, from black and from void. The grid leaves out colours close to grey, to black and to white.

    Args:
        count: Number of colours, at most 255.
    """
    levels = np.linspace(0, 255, 18).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    places = _oklab(grid)
    chosen = list(FIRST_COLORS[:count])
    useful = (np.hypot(places[:, 1], places[:, 2]) > 0.05) & (places[:, 0] > 0.3) & (places[:, 0] < 0.93)
    distances = np.where(useful, np.inf, -np.inf)
    for color in (*chosen, (0, 0, 0), VOC_VOID):
        distances = np.minimum(distances, _distances(places, color))
    while len(chosen) < count:
        red, green, blue = grid[distances.argmax()].tolist()
        chosen.append((red, green, blue))
        distances = np.minimum(distances, _distances(places, chosen[-1]))
    return tuple(chosen)


def _distances(places: NDArray[np.float64], color: Color) -> NDArray[np.float64]:
    distances: NDArray[np.float64] = np.linalg.norm(places - _oklab(np.array([color])), axis=1)
    return distances


def _oklab(colors: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Lightness and two opponent colours (N, 3) of sRGB colours (N, 3), in which distances are as large as they look.

    Source: B. Ottosson, A perceptual color space for image processing, 2020.
    """
    srgb = colors / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    cones = np.array([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
                      [0.0883024619, 0.2817188376, 0.6299787005]])  # fmt: skip
    opponents = np.array([[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
                          [0.0259040371, 0.7827717662, -0.8086757660]])  # fmt: skip
    oklab: NDArray[np.float64] = np.cbrt(linear @ cones.T) @ opponents.T
    return oklab
