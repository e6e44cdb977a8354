from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.callbacks.crf_evaluation import CRFEvaluation
from deeplab_lightning.callbacks.write_predictions import WritePredictions
from tests.callbacks.evaluated import PALETTE, EvaluatedModule, evaluate, noisy_halves, trainer_in


@pytest.mark.parametrize("with_crf", [False, True])
def test_label_maps_are_palette_images_of_the_refined_prediction(with_crf: bool, tmp_path: Path) -> None:
    """The hooks of a prediction are those of a validation."""
    module = EvaluatedModule(trainer_in(tmp_path, "predict", "predict"), ["sky", "tree"])
    callbacks: list[Any] = [WritePredictions(), *([CRFEvaluation(bilateral_xy=20, bilateral_rgb=20)] * with_crf)]
    logits, batch = noisy_halves(0)
    (outputs,) = evaluate(callbacks, module, [(logits, batch)])
    with Image.open(tmp_path / "predictions" / "image 0.png") as mask:
        assert mask.getpalette() == PALETTE.table().ravel().tolist()
        written = np.asarray(mask)
    plain = logits[0].argmax(0).numpy()
    assert (written == (outputs["refinement"][0].result()[0] if with_crf else plain)).all()
    assert (written != plain).any() == with_crf
    assert not module.logged  # there is no target to score by
