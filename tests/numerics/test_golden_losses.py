"""Five deterministic steps of each variant against stored losses: a change of the numbers must be a decision.

`python -m tests.numerics.test_golden_losses` prints the losses of the code as it is.
"""

from collections.abc import Callable

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
    "v3": [1.38461, 1.35121, 1.32656, 1.31097, 1.28995],
    "v3+": [1.38546, 1.35446, 1.32884, 1.33319, 1.32041],
    "v3+ separable": [1.40129, 1.37835, 1.36127, 1.35167, 1.33823],
}


def losses(variant: str) -> list[float]:
    torch.manual_seed(0)
    module = VARIANTS[variant]()
    optimizer = torch.optim.SGD(module.parameter_groups(), 0.007, 0.9)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, 65, 65, generator=generator)
    target = (images.mean(1) > 0).long() + 2 * (torch.arange(65) > 30)
    found = []
    for _ in range(5):
        loss = cross_entropy(module(images), target)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        found.append(round(loss.item(), 5))
    return found


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_losses_are_those_that_were(variant: str) -> None:
    assert losses(variant) == pytest.approx(GOLDEN[variant], rel=2e-3)


if __name__ == "__main__":
    for name in VARIANTS:
        print(f'    "{name}": {losses(name)},')
