"""Invalid settings are refused, wherever they are given."""

from collections.abc import Callable
from typing import Any

import pytest

from deeplab_lightning.callbacks.crf_evaluation import CRFEvaluation
from deeplab_lightning.crf.crf_rnn import CRFRNN
from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf.settings import CRFSettings

WRONG: dict[str, Any] = {
    "bilateral_weight": -1, "bilateral_xy": 0, "bilateral_rgb": 0, "gaussian_weight": -1, "gaussian_xy": 0,
    "iterations": 0, "normalization": "before",
}  # fmt: skip
TAKEN_BY: list[Callable[..., Any]] = [CRFSettings, DenseCRF, CRFEvaluation, lambda **settings: CRFRNN(3, **settings)]


@pytest.mark.parametrize("taken_by", TAKEN_BY)
def test_each_setting_is_checked(taken_by: Callable[..., Any]) -> None:
    assert set(WRONG) == set(CRFSettings.__dataclass_fields__)
    taken_by(**{name: 1 for name in WRONG if name != "normalization"}, normalization="symmetric")
    for name, value in WRONG.items():
        with pytest.raises(ValueError, match=f"{name}.*{value}"):
            taken_by(**{name: value})
    with pytest.raises(TypeError, match="sigma"):
        taken_by(sigma=1)
