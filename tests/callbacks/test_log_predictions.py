import numpy as np
import pytest

from deeplab_lightning.callbacks.log_predictions import CAPTION_HEIGHT, GAP, LogPredictions, panel
from deeplab_lightning.palette import VOC_COLORS


def test_a_panel_shows_each_map_beside_the_last() -> None:
    image = np.full((20, 30, 3), 90, np.uint8)
    target, prediction = np.full((20, 30), 15, np.uint8), np.full((20, 30), 255, np.uint8)
    strip = np.asarray(panel({"image": image, "target": target, "prediction": prediction}))
    assert strip.shape == (20 + CAPTION_HEIGHT, 3 * 30 + 2 * GAP, 3)
    colours = [strip[CAPTION_HEIGHT + 10, 10 + position * (30 + GAP)].tolist() for position in range(3)]
    assert colours == [[90, 90, 90], VOC_COLORS[15].tolist(), VOC_COLORS[255].tolist()]
    assert (strip[:CAPTION_HEIGHT] < 128).any()  # the names above the tiles


def test_an_invalid_number_of_images_is_refused() -> None:
    with pytest.raises(ValueError, match="num_images.*got 0"):
        LogPredictions(0)
