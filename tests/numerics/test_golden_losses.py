"""Ten deterministic steps of each variant against stored losses: a change of the numbers must be a decision.

Weights and images come from numpy, for torch's own draws differ between its versions; nothing is dropped out; all is in
float64, for ten steps through batch norm blow the rounding of float32 up to the second digit. Depthwise networks do so
in float64 too where image pooling normalises over two values; theirs are frozen, or the branch is left out.
`python -m tests.numerics.test_golden_losses` prints the losses of the code as it is.
"""

import math
from collections.abc import Callable
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

CAFFE: dict[str, Any] = {
    "upsample_logits": False,
    "lr_multipliers": {"classifier": 10.0},
    "bias_lr_multiplier": 2.0,
    "lr": 1e-4,
}

VARIANTS: dict[str, Callable[[], SegmentationModule]] = {
    "v1 4x4": lambda: DeepLabV1Module(4, kernel_size=4, rate=4, fc_channels=128, **CAFFE),
    "v1 7x7": lambda: DeepLabV1Module(4, kernel_size=7, rate=4, fc_channels=64, **CAFFE),
    "v1 LargeFOV": lambda: DeepLabV1Module(4, fc_channels=256, **CAFFE),
    "v1 MSc": lambda: DeepLabV1Module(4, fc_channels=256, multi_scale=True, **CAFFE),
    "v2 vgg16": lambda: DeepLabV2Module(4, "vgg16", (6, 12), **CAFFE),
    "v2 resnet50 MSC": lambda: DeepLabV2Module(4, "resnet50", input_scales=(1, 0.75, 0.5), **CAFFE | {"lr": 1e-5}),
    "v3": lambda: DeepLabV3Module(4, backbone="resnet18", multi_grid=(1, 2)),
    "v3 conv3x3": lambda: DeepLabV3Module(4, backbone="resnet18", stride_unit="first_dilated", aspp_conv3x3=True),
    "v3 cascade": lambda: DeepLabV3CascadeModule(4, "resnet18", stride_unit="last"),
    "v3 mobilenet_v2": lambda: DeepLabV3Module(4, backbone="mobilenet_v2", atrous_rates=(), freeze_batch_norm=True),
    "v3+": lambda: DeepLabV3PlusModule(4, backbone="resnet18"),
    "v3+ two joins": lambda: DeepLabV3PlusModule(4, backbone="resnet18", decoder_strides=(8, 4), decoder_convs=1),
    "v3+ separable": lambda: DeepLabV3PlusModule(4, backbone="resnet18", separable=True),
    "v3+ xception41": lambda: DeepLabV3PlusModule(4, backbone="xception41", separable=True, image_pooling=False),
    "v3+ mobilenet_v3": lambda: DeepLabV3PlusModule(
        4, backbone="mobilenet_v3_large", separable=True, freeze_batch_norm=True
    ),
}
GOLDEN = {
    "v1 4x4": [1.29988, 1.28259, 1.25128, 1.21004, 1.16303, 1.1141, 1.06582, 1.02125, 0.98201, 0.94727],
    "v1 7x7": [1.5726, 1.54867, 1.50832, 1.46063, 1.41527, 1.376, 1.34282, 1.31802, 1.29694, 1.2771],
    "v1 LargeFOV": [1.56201, 1.52571, 1.46378, 1.39203, 1.3231, 1.266, 1.22414, 1.19529, 1.17519, 1.15809],
    "v1 MSc": [6.01781, 2.84669, 2.3733, 3.10317, 2.52695, 1.18117, 1.11508, 1.35403, 1.23431, 1.00351],
    "v2 vgg16": [2.03452, 1.6274, 1.29116, 1.22731, 1.23089, 1.17718, 1.06326, 0.92479, 0.79503, 0.69315],
    "v2 resnet50 MSC": [7.2448, 5.55733, 5.54462, 5.84787, 4.94558, 5.02931, 4.58769, 4.59454, 3.69519, 3.55942],
    "v3": [1.62485, 1.35972, 1.03776, 0.9234, 0.89291, 0.83983, 0.81532, 0.80678, 0.7958, 0.79041],
    "v3 conv3x3": [1.53158, 1.23867, 1.08207, 0.98953, 0.8943, 0.89504, 0.83833, 0.83063, 0.81935, 0.80002],
    "v3 cascade": [2.34687, 2.04503, 2.70483, 3.51409, 2.97652, 2.3927, 2.87436, 2.00183, 2.17805, 3.16823],
    "v3 mobilenet_v2": [3.38787, 4.01361, 4.64112, 2.88409, 4.79077, 1.30239, 2.30734, 1.98866, 0.91974, 1.04402],
    "v3+": [1.63925, 1.49457, 1.1132, 1.03387, 0.91611, 0.85369, 0.81019, 0.78003, 0.76173, 0.74475],
    "v3+ two joins": [1.73411, 1.52824, 1.41938, 1.16947, 0.99672, 0.90419, 0.85479, 0.8148, 0.79611, 0.77895],
    "v3+ separable": [1.77505, 1.65306, 1.49107, 1.24024, 1.13229, 1.01102, 0.95996, 0.92673, 0.90233, 0.89048],
    "v3+ xception41": [1.73134, 1.57382, 1.65055, 1.47446, 1.42717, 1.30053, 1.18559, 1.1562, 1.11071, 1.02687],
    "v3+ mobilenet_v3": [2.03339, 4.07928, 1.92114, 2.05435, 1.61681, 1.42213, 1.3819, 1.30206, 1.22193, 1.1623],
}


def losses(variant: str) -> list[float]:
    module, rng = VARIANTS[variant]().double(), np.random.default_rng(0)
    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                weights = rng.standard_normal(tuple(parameter.shape))
                parameter.copy_(torch.from_numpy(weights) * math.sqrt(2 / parameter[0].numel()))
    optimizer = torch.optim.SGD(module.parameter_groups(), 0.007, 0.9)
    images = torch.from_numpy(rng.standard_normal((2, 3, 33, 33)))
    target = (images.mean(1) > 0).long() + 2 * (torch.arange(33) > 16)
    found = []
    for _ in range(10):
        loss = module.training_loss(images, target)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        found.append(round(loss.item(), 5))
    return found


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_losses_are_those_that_were(variant: str) -> None:
    assert losses(variant) == pytest.approx(GOLDEN[variant], rel=1e-4, abs=1e-4)


if __name__ == "__main__":
    for name in VARIANTS:
        print(f'    "{name}": {losses(name)},')
