"""The protocol by which results come about, the hash by which they are found again, and what a training costs."""

import json
import math
from hashlib import sha256

from deeplab_lightning.settings.compose import listed
from deeplab_lightning.settings.resolve import Resolved
from deeplab_lightning.settings.values import shown
from deeplab_lightning.usage import UsageError

PROTOCOLS = {
    1: "results were found by the settings that a table gives; data.batch_size was of each process",
    2: "data.batch_size is of all processes together, whose batch norms share statistics on GPUs",
}
"""What each protocol changed; the newest is part of the hash of a result.

Whoever changes what the same settings mean, and so what they score, adds a number. A changed default needs none.
"""
PROTOCOL = max(PROTOCOLS)

COUNTS = ("trainer.max_steps", "trainer.accumulate_grad_batches", "data.init_args.batch_size")
"""Settings from which the cost of a training is reckoned, beside the size of its crops."""
LARGEST = 10**9


def digest(settings: object) -> str:
    """The hash by which settings are found again."""
    return sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:10]


def check_counts(resolved: Resolved) -> None:
    """Look at the numbers from which the cost of a training is reckoned.

    Args:
        resolved: The settings of a training or an evaluation.

    Raises:
        UsageError: One is no number, or none that a training can have.
    """
    crop_size = resolved["data.init_args.crop_size"]
    if len(listed(crop_size)) != 2:
        raise UsageError(f"data.init_args.crop_size must be two numbers; got {shown(crop_size)}")
    sides = {f"data.init_args.crop_size[{axis}]": side for axis, side in enumerate(listed(crop_size))}
    for name, value in ({key: resolved[key] for key in COUNTS} | sides).items():
        if not isinstance(value, int) or not 0 < value <= LARGEST:
            raise UsageError(f"{name} must be a whole number from 1 to {LARGEST:g}; got {shown(value)}")
    for name in (key for key in resolved if key.endswith("init_args.scales")):
        for scale in listed(resolved[name]) or [None]:
            if not isinstance(scale, int | float) or not 0 < scale <= 100:
                raise UsageError(f"{name} must hold numbers above 0, to 100; got {shown(resolved[name])}")
    for name, value in resolved.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{name} must be a finite number; got {value}")
