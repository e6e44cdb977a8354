"""Invalid settings are refused, wherever they are given."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from deeplab_lightning.callbacks.crf_evaluation import CRFEvaluation
from deeplab_lightning.crf.crf_rnn import CRFRNN
from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf.settings import CRFSettings, Pairwise

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


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"channel_ranges": 0}, "channel_ranges.*0"),
        ({"channel_ranges": [3.0, 4.0]}, "channel_ranges.*5 channels"),
        ({"channel_ranges": [1, 1, -1, 1, 1]}, "channel_ranges.*-1"),
        ({"channel_ranges": np.full(5, np.nan)}, "channel_ranges.*nan"),
        ({"bilateral_compatibility": np.eye(3)}, r"bilateral_compatibility.*\(3, 3\)"),
        ({"gaussian_compatibility": torch.ones(2, 3)}, r"gaussian_compatibility.*\(2, 3\)"),
        ({"gaussian_compatibility": 3.0}, r"gaussian_compatibility.*\(\)"),
    ],
)
def test_what_replaces_settings_is_checked(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Pairwise(**wrong).check(num_channels=5, num_labels=2)


def test_what_replaces_settings_may_be_lists_arrays_or_tensors() -> None:
    for kind in (list, np.array, torch.tensor):
        Pairwise(kind([1.0, 2.0]), kind([[1.0, 2.0], [3.0, 4.0]]), kind([1.0, 2.0])).check(2, 2)
