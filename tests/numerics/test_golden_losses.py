"""Three deterministic steps of each variant against stored losses: a change of the numbers must be a decision.

Weights and images come from numpy, for torch's own draws differ between its versions.
`python -m tests.numerics.test_golden_losses` prints the losses of the code as it is.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from deeplab_lightning.losses import cross_entropy
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.deeplab_v3 import DeepLabV3Module
from deeplab_lightning.modules.deeplab_v3plus import DeepLabV3PlusModule

VARIANTS: dict[str, Callable[[], SegmentationModule]] = {
    "v3": lambda: DeepLabV3Module(4, backbone="resnet18", multi_grid=(1, 2), dropout=0.0),
    "v3+": lambda: DeepLabV3PlusModule(4, backbone="resnet18", dropout=0.0),
    "v3+ separable": lambda: DeepLabV3PlusModule(4, backbone="resnet18", dropout=0.0, separable=True),
}
GOLDEN = {
    "v3": [1.67653, 1.2058, 1.06033],
    "v3+": [1.58823, 1.08047, 1.01692],
    "v3+ separable": [1.56056, 1.3732, 1.24276],
}


def losses(variant: str) -> list[float]:
    module, rng = VARIANTS[variant](), np.random.default_rng(0)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                scale = math.sqrt(2 / parameter[0].numel())
                parameter.copy_(torch.from_numpy(rng.normal(0, scale, tuple(parameter.shape))))
    optimizer = torch.optim.SGD(module.parameter_groups(), 0.007, 0.9)
    images = torch.from_numpy(rng.normal(size=(2, 3, 65, 65))).float()
    target = (images.mean(1) > 0).long() + 2 * (torch.arange(65) > 30)
    found = []
    for _ in range(3):
        loss = cross_entropy(module(images), target)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        found.append(round(loss.item(), 5))
    return found


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_losses_are_those_that_were(variant: str) -> None:
    assert losses(variant) == pytest.approx(GOLDEN[variant], rel=5e-4)


if __name__ == "__main__":
    for name in VARIANTS:
        print(f'    "{name}": {losses(name)},')
