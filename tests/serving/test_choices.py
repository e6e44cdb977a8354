from dataclasses import asdict, replace
from typing import Any

import pytest

from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf.sliders import SLIDERS
from deeplab_lightning.serving.choices import method_of

VALUES = {name: asdict(DenseCRF())[name] for name in SLIDERS}


def test_a_found_setting_between_and_beyond_the_sliders_runs_as_it_is() -> None:
    found = DenseCRF(bilateral_rgb=3.25, bilateral_xy=1000, gaussian_xy=0.1, iterations=50)
    values = {name: asdict(found)[name] for name in SLIDERS}
    assert method_of([1], False, True, preset=found, values=values).crf == found
    moved = method_of([1], False, True, preset=found, values=values | {"gaussian_weight": 7.5}).crf
    assert moved == replace(found, gaussian_weight=7.5)
    with pytest.raises(ValueError, match="999"):  # which is neither the found value nor one of the slider
        method_of([1], False, True, preset=found, values=values | {"bilateral_xy": 999})


def test_the_method_holds_the_choices() -> None:
    preset = DenseCRF(normalization="symmetric", min_probability=0.1)
    how = method_of([1.5, 1, 1], True, True, preset=preset, values=VALUES | {"iterations": 3.0, "bilateral_rgb": 7})
    assert (how.scales, how.flip) == ((1.0, 1.5), True)
    assert how.crf is not None
    assert asdict(how.crf) == asdict(preset) | {"iterations": 3, "bilateral_rgb": 7.0}
    assert method_of([1], False, False, preset=preset, values={}).crf is None


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"scales": None}, "None"),
        ({"scales": []}, "0.5"),
        ({"scales": [1e9]}, "1000000000"),
        ({"scales": [[1]]}, r"\[\[1\]\]"),
        ({"scales": "1"}, "'1'"),
        ({"flip": None}, "None"),
        ({"uses_crf": "yes"}, "yes"),
        ({"iterations": 10**6}, "1000000"),
        ({"iterations": None}, "None"),
        ({"iterations": True}, "True"),
        ({"bilateral_xy": "x" * 1000}, "Range of appearance in pixels"),
        ({"gaussian_xy": float("nan")}, "nan"),
        ({"gaussian_weight": {}}, "{}"),
    ],
)
def test_values_that_the_page_does_not_offer_are_named(changed: dict[str, Any], named: str) -> None:
    given: dict[str, Any] = {"scales": [1], "flip": False, "uses_crf": True, **VALUES} | changed
    scales, flip, uses_crf = (given.pop(name) for name in ("scales", "flip", "uses_crf"))
    with pytest.raises(ValueError, match=named) as error:
        method_of(scales, flip, uses_crf, preset=DenseCRF(), values=given)
    assert len(str(error.value)) < 200
