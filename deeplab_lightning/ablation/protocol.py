"""The protocol of the results, the hash that identifies a result, and the check of the numbers behind its cost."""

import json
import math
from hashlib import sha256

from deeplab_lightning.settings.compose import listed
from deeplab_lightning.settings.resolve import Resolved
from deeplab_lightning.settings.values import shown
from deeplab_lightning.usage import UsageError

PROTOCOLS = {
    1: "results were identified by the settings that a table gives; data.batch_size was that of each process",
    2: "data.batch_size is the total over all processes, whose batch norms share statistics on GPUs",
}
"""The changes that each protocol made. The number of the newest one is part of the hash of a result.

A change to the code that alters the scores of the same settings needs a new number. A changed default needs none.
"""
PROTOCOL = max(PROTOCOLS)

COUNTS = ("trainer.max_steps", "trainer.accumulate_grad_batches", "data.init_args.batch_size")
"""Settings that determine the cost of a training, together with the crop size."""
LARGEST_COUNT = 10**9


def digest(settings: object) -> str:
    """The hash that identifies settings."""
    return sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:10]


def check_counts(resolved: Resolved) -> None:
    """Check the numbers that determine the cost of a training.

    Args:
        resolved: The settings of a training or an evaluation.

    Raises:
        UsageError: A value is not a number, or is out of range.
    """
    crop_size = resolved["data.init_args.crop_size"]
    if len(listed(crop_size)) != 2:
        raise UsageError(f"data.init_args.crop_size must be two numbers; got {shown(crop_size)}")
    sides = {f"data.init_args.crop_size[{axis}]": side for axis, side in enumerate(listed(crop_size))}
    for name, value in ({key: resolved[key] for key in COUNTS} | sides).items():
        if not isinstance(value, int) or not 0 < value <= LARGEST_COUNT:
            raise UsageError(f"{name} must be a whole number from 1 to {LARGEST_COUNT:g}; got {shown(value)}")
    for name in (key for key in resolved if key.endswith("init_args.scales")):
        for scale in listed(resolved[name]) or [None]:
            if not isinstance(scale, int | float) or not 0 < scale <= 100:
                raise UsageError(f"{name} must hold numbers above 0 and up to 100; got {shown(resolved[name])}")
    for name, value in resolved.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{name} must be a finite number; got {value}")
