"""The choices of a visitor, and the method that they stand for."""

import reprlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf.sliders import SLIDERS
from deeplab_lightning.segmentation.segmenter import Method

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
"""The scales of evaluation of DeepLabv3 (arXiv:1706.05587, section 4.1)."""


def method_of(scales: Any, flip: Any, uses_crf: Any, *, preset: DenseCRF, values: Mapping[str, Any]) -> Method:
    """Return the method that the values of the page stand for, whoever sent them.

    Args:
        scales: The chosen scales.
        flip: Whether every scale also runs on the mirrored image.
        uses_crf: Whether the CRF refines the result.
        preset: CRF whose settings hold where a slider was not moved, however fine they are or far beyond its range.
        values: Values of `SLIDERS` by name.

    Raises:
        ValueError: A value is not one that the page offers.
    """
    if not isinstance(scales, list) or not scales or not all(scale in SCALES for scale in scales):
        offered = ", ".join(f"{scale:g}" for scale in SCALES)
        raise ValueError(f"choose at least one scale of {offered}; got {reprlib.repr(scales)}")
    if not isinstance(flip, bool) or not isinstance(uses_crf, bool):
        raise ValueError(f"mirroring and the CRF are on or off, got {reprlib.repr((flip, uses_crf))}")
    crf = None
    if uses_crf:
        moved = [name for name in SLIDERS if values.get(name) != getattr(preset, name)]
        settings: dict[str, Any] = {name: SLIDERS[name].check(values.get(name)) for name in moved}
        crf = replace(preset, **settings | {"iterations": int(settings.get("iterations", preset.iterations))})
    return Method(scales=tuple(sorted({float(scale) for scale in scales})), flip=flip, crf=crf, tile=None)
