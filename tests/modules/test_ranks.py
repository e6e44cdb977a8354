from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.modules.deeplab_v2 import DeepLabV2Module
from deeplab_lightning.modules.deeplab_v3 import DeepLabV3Module
from deeplab_lightning.modules.ranks import mean_over_ranks


@pytest.mark.parametrize("weights", [None, [1.0, 0.5, 4.0]])
@pytest.mark.parametrize("upsample_logits", [True, False])
@pytest.mark.parametrize("v2", [True, False])
def test_the_mean_of_the_ranks_losses_is_the_loss_of_their_batches_together(
    monkeypatch: pytest.MonkeyPatch, weights: list[float] | None, upsample_logits: bool, v2: bool
) -> None:
    module: SegmentationModule
    if v2:
        kinds = {"backbone": "resnet50", "atrous_rates": [2], "input_scales": [1.0, 0.5]}
        module = DeepLabV2Module(3, class_weights=weights, upsample_logits=upsample_logits, **kinds)  # type: ignore[arg-type]
    else:
        module = DeepLabV3Module(
            3, class_weights=weights, upsample_logits=upsample_logits, backbone="resnet18", align_corners=True
        )
    module.eval()
    images, target = torch.randn(4, 3, 33, 33), torch.randint(0, 3, (4, 33, 33))
    target[:2, :, 3:] = 255  # the first rank has a tenth of the second's pixels
    halves = [(images[:2], target[:2]), (images[2:], target[2:])]
    whole = module.training_loss(images, target)
    seen: list[list[Tensor]] = []
    means: Iterator[Tensor] = iter(())

    def record(value: Tensor) -> Tensor:
        seen[-1].append(value)
        return value

    monkeypatch.setattr("deeplab_lightning.modules.base.mean_over_ranks", record)
    for half in halves:
        seen.append([])
        module.training_loss(*half)
    assert len(seen[0]) == (3 if v2 else 1)
    monkeypatch.setattr("deeplab_lightning.modules.base.mean_over_ranks", lambda _: next(means))
    losses = []
    for half in halves:
        means = (torch.stack(pair).mean() for pair in zip(*seen, strict=True))
        losses.append(module.training_loss(*half))
    torch.testing.assert_close(torch.stack(losses).mean(), whole)


def test_one_process_keeps_its_value() -> None:
    value = torch.tensor(3.0)
    assert mean_over_ranks(value) is value
