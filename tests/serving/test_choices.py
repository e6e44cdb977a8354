from dataclasses import asdict
from typing import Any

import pytest

from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf.published import SETTINGS
from deeplab_lightning.serving.choices import SLIDERS, method_of, slider_values

VALUES = dict(zip(SLIDERS, slider_values(DenseCRF()), strict=True))


@pytest.mark.parametrize("name", SETTINGS)
def test_every_released_setting_is_on_the_sliders(name: str) -> None:
    values = dict(zip(SLIDERS, slider_values(SETTINGS[name]), strict=True))
    assert method_of([1], False, True, preset=SETTINGS[name], values=values).crf == SETTINGS[name]
    for setting, slider in SLIDERS.items():
        assert (values[setting] - slider.limits[0]) % slider.step == 0


def test_values_beyond_a_slider_are_at_its_end() -> None:
    ends = dict(zip(SLIDERS, slider_values(DenseCRF(bilateral_xy=1000, gaussian_xy=0.1)), strict=True))
    assert (ends["bilateral_xy"], ends["gaussian_xy"]) == (
        SLIDERS["bilateral_xy"].limits[1],
        SLIDERS["gaussian_xy"].limits[0],
    )


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
