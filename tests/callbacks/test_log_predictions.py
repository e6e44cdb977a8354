from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.callbacks.log_predictions import LogPredictions
from deeplab_lightning.drawing import colored, lettering
from tests.callbacks.evaluated import PALETTE, EvaluatedModule, evaluate, noisy_halves, trainer_in


def test_a_panel_is_in_the_colours_of_the_data(tmp_path: Path) -> None:
    module = EvaluatedModule(trainer_in(tmp_path), PALETTE.class_names)
    logits, batch = noisy_halves(0)
    evaluate([LogPredictions(1)], module, [(logits, batch), noisy_halves(1)])
    (path,) = (tmp_path / "panels" / "val").iterdir()
    picture = np.asarray(Image.open(path))
    tiles = picture[lettering(picture.shape[1]).line :][: 8 * 24]  # each of 24x32 pixels, enlarged eight times
    for position, labels in ((1, batch["mask"][0]), (2, logits[0].argmax(0))):
        tile = tiles[:, position * (8 * 32 + 8) :][:, : 8 * 32]
        assert np.array_equal(tile, colored(np.kron(labels.numpy(), np.ones((8, 8), int)), PALETTE))


def test_an_invalid_number_of_images_is_refused() -> None:
    with pytest.raises(ValueError, match="num_images.*got 0"):
        LogPredictions(0)
