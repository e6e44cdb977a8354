from dataclasses import asdict
from typing import Any

import pytest

from deeplab_lightning.crf.published import SETTINGS
from deeplab_lightning.crf.settings import CRFSettings
from deeplab_lightning.crf.sliders import PRESET, SLIDERS


def test_every_number_has_a_slider() -> None:
    assert set(SLIDERS) == set(CRFSettings.__dataclass_fields__) - {"normalization"}
    assert PRESET in SETTINGS


@pytest.mark.parametrize("name", SETTINGS)
def test_every_released_setting_is_on_the_sliders(name: str) -> None:
    for setting, slider in SLIDERS.items():
        value = asdict(SETTINGS[name])[setting]
        assert slider.check(value) == value
        assert (value - slider.limits[0]) % slider.step == 0


@pytest.mark.parametrize("value", [0.4, 10.5, True, "3", None, float("nan"), "x" * 1000])
def test_what_is_no_number_in_the_range_is_named(value: Any) -> None:
    with pytest.raises(ValueError, match="Range of smoothness in pixels") as error:
        SLIDERS["gaussian_xy"].check(value)
    assert repr(value)[:5] in str(error.value)
    assert len(str(error.value)) < 200
