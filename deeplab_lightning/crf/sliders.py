"""The settings of the CRF that a page offers on sliders, be it served or a file for the browser."""

import reprlib
from dataclasses import dataclass
from numbers import Real
from typing import Any


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
            raise ValueError(f"{self.label} must be a number from {low:g} to {high:g}, got {reprlib.repr(value)}")
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
"""The settings on sliders, by the names of `CRFSettings`."""
PRESET = "deeplab_largefov"
"""The released setting that the sliders begin with if no model has a CRF of its own."""
