import json

import numpy as np
import pytest

from deeplab_lightning.palette import CAMVID_COLORS, CITYSCAPES_COLORS, VOC_COLORS, VOC_VOID, Palette, distinct_colors

NAMES = ("background", "road", "tree")


def test_voc_colours() -> None:
    colours = {0: [0, 0, 0], 1: [128, 0, 0], 15: [192, 128, 128], 20: [0, 64, 128], 255: [224, 224, 192]}
    assert VOC_COLORS.shape == (256, 3)
    assert VOC_COLORS[[*colours]].tolist() == [*colours.values()]
    assert np.array_equal(Palette.voc([str(index) for index in range(21)]).table(), VOC_COLORS)


def test_colours_of_data_sets() -> None:
    assert len(set(CAMVID_COLORS)) == 11
    assert len(set(CITYSCAPES_COLORS)) == 19
    assert CAMVID_COLORS[3] == CITYSCAPES_COLORS[0] == (128, 64, 128)  # road, in both


def test_a_palette_gives_every_value_a_colour() -> None:
    palette = Palette(NAMES, ((1, 2, 3), (4, 5, 6), (7, 8, 9)), void=(10, 11, 12))
    table = palette.table()
    assert table[[0, 1, 2, 255]].tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]]
    assert np.array_equal(table[3:255], VOC_COLORS[3:255])


def test_a_palette_survives_json() -> None:
    palette = Palette(NAMES, ((1, 2, 3), (4, 5, 6), (7, 8, 9)), void=(10, 11, 12))
    assert Palette.from_dict(json.loads(json.dumps(palette.as_dict()))) == palette


def test_generated_colours_can_be_told_apart() -> None:
    colours = np.array([*distinct_colors(60), VOC_VOID, (0, 0, 0)], int)
    steps = np.abs(colours[:, None] - colours).max(-1)[~np.eye(62, dtype=bool)]
    assert steps.min() >= 30
    assert len(set(distinct_colors(255))) == 255
    assert distinct_colors(200)[:20] == distinct_colors(20)


def test_only_a_background_is_black() -> None:
    assert Palette.generated(NAMES).colors == ((0, 0, 0), *distinct_colors(2))
    assert Palette.generated(["sky", "road"]).colors == distinct_colors(2)


@pytest.mark.parametrize(
    ("colours", "message"),
    [
        ([(0, 0, 0)], "3 classes.*1"),
        ([(0, 0, 0), (1, 1, 1), (0, 256, 0)], "256"),
        ([(0, 0, 0), (1, 1, 1), (0, 1)], r"\(0, 1\)"),
    ],
)
def test_faulty_colours_are_refused(colours: list[tuple[int, int, int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Palette(NAMES, tuple(colours))


def test_more_classes_than_values_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 255 classes, but 256"):
        Palette.generated([str(index) for index in range(256)])
