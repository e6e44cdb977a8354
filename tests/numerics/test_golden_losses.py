"""Ten deterministic steps of each variant against stored losses: a change of the numbers must be a decision.

The losses must be the same on every processor, whose kernels round differently. Ten steps can blow a rounding up to the
second digit, in float64 too: batch norm over a handful of values does so, depthwise convolutions at a high learning
rate do so. So every test moves the weights by 1e-12 of themselves, far more than rounding does, and the losses must
stay. Hence eight images, which image pooling normalises over, low rates or frozen norms where convolutions are
depthwise, and float64. Weights and images come from numpy, for torch's own draws differ between its versions; nothing
is dropped out. The networks have an eighth of their channels, to be quick; all else of them is whole.

`python -m tests.numerics.test_golden_losses` stores the losses of the code as it is, and prints how far they move.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.deeplab_v1 import DeepLabV1Module
from deeplab_lightning.modules.deeplab_v2 import DeepLabV2Module
from deeplab_lightning.modules.deeplab_v3 import DeepLabV3Module
from deeplab_lightning.modules.deeplab_v3_cascade import DeepLabV3CascadeModule
from deeplab_lightning.modules.deeplab_v3plus import DeepLabV3PlusModule
from tests.thin import an_eighth_of_the_channels

GOLDEN = Path(__file__).with_suffix(".json")
MOVE, TOLERANCE = 1e-12, 1e-7  # of the weights, and of the losses then; both relative
CAFFE: dict[str, Any] = {
    "upsample_logits": False,
    "lr_multipliers": {"classifier": 10.0},
    "bias_lr_multiplier": 2.0,
    "lr": 1e-3,
}
VARIANTS: dict[str, Callable[[], SegmentationModule]] = {
    "v1 4x4": lambda: DeepLabV1Module(4, kernel_size=4, rate=4, fc_channels=128, pool_size=2, pool5a=False, **CAFFE),
    "v1 7x7": lambda: DeepLabV1Module(4, kernel_size=7, rate=4, fc_channels=64, pool5a=False, **CAFFE),
    "v1 LargeFOV": lambda: DeepLabV1Module(4, fc_channels=256, **CAFFE),
    "v1 MSc": lambda: DeepLabV1Module(4, fc_channels=256, multi_scale=True, **CAFFE | {"lr": 1e-4}),
    "v2 vgg16": lambda: DeepLabV2Module(4, backbone="vgg16", atrous_rates=(6, 12), **CAFFE | {"lr": 1e-4}),
    "v2 resnet50 MSC": lambda: DeepLabV2Module(
        4, backbone="resnet50", input_scales=(1, 0.75, 0.5), **CAFFE | {"lr": 1e-5}
    ),
    "v3": lambda: DeepLabV3Module(4, backbone="resnet18", multi_grid=(1, 2)),
    "v3 conv3x3": lambda: DeepLabV3Module(4, backbone="resnet18", stride_unit="first_dilated", aspp_conv3x3=True),
    "v3 cascade": lambda: DeepLabV3CascadeModule(4, backbone="resnet18", stride_unit="last"),
    "v3 mobilenet_v2": lambda: DeepLabV3Module(
        4, backbone="mobilenet_v2", atrous_rates=(), freeze_batch_norm=True, lr=1e-3
    ),
    "v3+": lambda: DeepLabV3PlusModule(4, backbone="resnet18"),
    "v3+ two joins": lambda: DeepLabV3PlusModule(4, backbone="resnet18", decoder_strides=(8, 4), decoder_convs=1),
    "v3+ separable": lambda: DeepLabV3PlusModule(4, backbone="resnet18", separable=True),
    "v3+ xception41": lambda: DeepLabV3PlusModule(4, backbone="xception41", separable=True, lr=1e-3),
    "v3+ mobilenet_v3": lambda: DeepLabV3PlusModule(4, backbone="mobilenet_v3_large", separable=True, lr=1e-3),
}


def losses(variant: str, move: float = 0.0) -> list[float]:
    with an_eighth_of_the_channels():
        module = VARIANTS[variant]().double()
    rng, signs = np.random.default_rng(0), np.random.default_rng(1)
    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                weights = rng.standard_normal(tuple(parameter.shape)) * math.sqrt(2 / parameter[0].numel())
                parameter.copy_(torch.from_numpy(weights * (1 + move * signs.choice((-1, 1), weights.shape))))
    optimizer = torch.optim.SGD(module.parameter_groups(), 0.007, 0.9)
    images = torch.from_numpy(rng.standard_normal((8, 3, 33, 33)) + rng.standard_normal((8, 3, 1, 1)))
    target = (images.mean(1) > 0).long() + 2 * (torch.arange(33) > 16)
    found = []
    for _ in range(10):
        loss = module.training_loss(images, target)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        found.append(loss.item())
    return found


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_losses_are_those_that_were_wherever_they_are_rounded(variant: str) -> None:
    golden = json.loads(GOLDEN.read_text())[variant]
    assert golden[-1] < golden[0]
    assert losses(variant, MOVE) == pytest.approx(golden, rel=TOLERANCE)


if __name__ == "__main__":
    stored = {}
    for name in VARIANTS:
        stored[name] = losses(name)
        pairs = zip(stored[name], losses(name, MOVE), strict=True)
        furthest = max(abs(moved - loss) / loss for loss, moved in pairs)
        print(f"{name:18s} {stored[name][0]:.4f} to {stored[name][-1]:.4f}, moved by {furthest:.0e}", flush=True)
    lines = (f"{json.dumps(name)}: {json.dumps(found)}" for name, found in stored.items())
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
