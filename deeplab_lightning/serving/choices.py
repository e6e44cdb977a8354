"""The choices of a visitor: the ranges of the sliders, and the method that their values stand for."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any

from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.segmentation.segmenter import Method

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
"""The scales of evaluation of DeepLabv3 (arXiv:1706.05587, section 4.1)."""


@dataclass(frozen=True)
class Slider:
    """A setting of the CRF on a slider.

    Args:
        label: Name on the page.
        limits: Smallest and largest value.
        step: Distance between values.
        info: Sentence about the effect.
    """

    label: str
    limits: tuple[float, float]
    step: float
    info: str

    def check(self, value: Any) -> float:
        """Return the value as a number.

        Raises:
            ValueError: It is no number in the range.
        """
        low, high = self.limits
        if isinstance(value, bool) or not isinstance(value, Real) or not low <= float(value) <= high:
            raise ValueError(f"{self.label} must be a number from {low:g} to {high:g}, got {_short(value)}")
        return float(value)


SLIDERS = {
    "iterations": Slider("Iterations", (1, 20), 1, "Mean field updates."),
    "bilateral_weight": Slider("Weight of appearance", (0, 20), 0.5, "Pixels of like colours take one class."),
    "bilateral_xy": Slider("Range of appearance in pixels", (1, 160), 1, "How far like colours attract each other."),
    "bilateral_rgb": Slider(
        "Range of appearance in colours", (1, 40), 1, "How unlike colours may be; small follows edges."
    ),
    "gaussian_weight": Slider(
        "Weight of smoothness", (0, 20), 0.5, "Neighbours take one class, whatever their colours."
    ),
    "gaussian_xy": Slider("Range of smoothness in pixels", (0.5, 10), 0.5, "How far neighbours reach."),
}
"""The settings of the CRF on the page, by the names of `CRFSettings`."""


def slider_values(crf: DenseCRF) -> list[float]:
    """Return the values of the sliders for a CRF, within their ranges."""
    settings = asdict(crf)
    return [min(max(settings[name], each.limits[0]), each.limits[1]) for name, each in SLIDERS.items()]


def method_of(scales: Any, flip: Any, uses_crf: Any, *, preset: DenseCRF, values: Mapping[str, Any]) -> Method:
    """Return the method that the values of the page stand for, whoever sent them.

    Args:
        scales: The chosen scales.
        flip: Whether every scale also runs on the mirrored image.
        uses_crf: Whether the CRF refines the result.
        preset: CRF with the settings that no slider has: normalisation, engine and least probability.
        values: Values of `SLIDERS` by name.

    Raises:
        ValueError: A value is not one that the page offers.
    """
    if not isinstance(scales, list) or not scales or not all(scale in SCALES for scale in scales):
        offered = ", ".join(f"{scale:g}" for scale in SCALES)
        raise ValueError(f"choose at least one scale of {offered}; got {_short(scales)}")
    if not isinstance(flip, bool) or not isinstance(uses_crf, bool):
        raise ValueError(f"mirroring and the CRF are on or off, got {_short((flip, uses_crf))}")
    crf = None
    if uses_crf:
        settings = {name: slider.check(values.get(name)) for name, slider in SLIDERS.items()}
        crf = DenseCRF(**asdict(preset) | settings | {"iterations": int(settings["iterations"])})
    return Method(scales=tuple(sorted({float(scale) for scale in scales})), flip=flip, crf=crf, tile=None)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
