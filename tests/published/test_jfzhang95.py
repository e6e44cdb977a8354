"""The layout of jfzhang95's DeepLabv3+, whose code gave logits equal to the last bit when it was compared."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus
from deeplab_lightning.published.jfzhang95 import from_jfzhang95
from tests.thin import an_eighth_of_the_channels

HEAD = {
    **{
        f"aspp.branches.{branch}.{part}": f"aspp.aspp{branch + 1}.{name}"
        for branch in range(4)
        for part, name in enumerate(("atrous_conv", "bn"))
    },
    "aspp.branches.4.conv": "aspp.global_avg_pool.1",
    "aspp.branches.4.bn": "aspp.global_avg_pool.2",
    "aspp.project.0": "aspp.conv1",
    "aspp.project.1": "aspp.bn1",
    "decoder.reduce.0.0": "decoder.conv1",
    "decoder.reduce.0.1": "decoder.bn1",
    "decoder.refine.0.0.0": "decoder.last_conv.0",
    "decoder.refine.0.0.1": "decoder.last_conv.1",
    "decoder.refine.0.1.0": "decoder.last_conv.4",
    "decoder.refine.0.1.1": "decoder.last_conv.5",
    "classifier": "decoder.last_conv.8",
}


@pytest.fixture(autouse=True)
def thin() -> Iterator[None]:
    with an_eighth_of_the_channels():
        yield


def layout(network: DeepLabV3Plus) -> dict[str, Tensor]:
    """The tensors under their names there."""
    tensors = {}
    for name, tensor in network.state_dict().items():
        scope, _, kind = name.rpartition(".")
        tensors[f"{HEAD.get(scope, scope)}.{kind}"] = tensor
    return tensors


def test_logits_are_equal() -> None:
    settings = {"multi_grid": (1, 2, 4), "stride_unit": "first_dilated", "align_corners": True}
    network = DeepLabV3Plus(5, "resnet101", 16, (6, 12, 18), **settings).eval()  # type: ignore[arg-type]
    tensors = layout(network)
    assert "decoder.last_conv.8.weight" in tensors
    images = torch.randn(1, 3, 65, 48)
    with torch.no_grad():
        assert torch.equal(from_jfzhang95(tensors).network(images), network(images))


def test_other_backbones_and_tensors_that_are_left_over_are_refused() -> None:
    with pytest.raises(ValueError, match="ResNet-101"):
        from_jfzhang95({"backbone.features.0.0.weight": torch.zeros(1)})
    tensors = layout(DeepLabV3Plus(5, "resnet101", 16, (6, 12, 18)))
    with pytest.raises(ValueError, match="auxiliary.weight"):
        from_jfzhang95(tensors | {"auxiliary.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"decoder.last_conv.4.weight.*\[1\]"):
        from_jfzhang95(tensors | {"decoder.last_conv.4.weight": torch.zeros(1)})
