"""VainF's networks, put together from torchvision's parts as they are there, and imported to equal logits."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.segmentation.deeplabv3 import ASPP

from deeplab_lightning.published.state_dicts import find_state_dict
from deeplab_lightning.published.vainf import from_vainf

CLASSES = 5


class Classifier(nn.Module):
    """The head of v3+: low-level features come first in the concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Conv2d(256, 48, 1, bias=False), nn.BatchNorm2d(48), nn.ReLU())
        self.aspp = ASPP(2048, [6, 12, 18])
        convs = (
            nn.Conv2d(304, 256, 3, padding=1, bias=False),
            nn.BatchNorm2d(256),
            nn.ReLU(),
            nn.Conv2d(256, CLASSES, 1),
        )
        self.classifier = nn.Sequential(*convs)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        low = self.project(features["low_level"])
        high = F.interpolate(self.aspp(features["out"]), low.shape[-2:], mode="bilinear")
        logits: Tensor = self.classifier(torch.cat([low, high], 1))
        return logits


class HeadV3(nn.Module):
    """The head of v3, a Sequential under the name `classifier`."""

    def __init__(self) -> None:
        super().__init__()
        convs = (
            nn.Conv2d(256, 256, 3, padding=1, bias=False),
            nn.BatchNorm2d(256),
            nn.ReLU(),
            nn.Conv2d(256, CLASSES, 1),
        )
        self.classifier = nn.Sequential(ASPP(2048, [6, 12, 18]), *convs)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        logits: Tensor = self.classifier(features["out"])
        return logits


class Reference(nn.Module):
    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        trunk = resnet50(weights=None, replace_stride_with_dilation=[False, False, True])
        self.backbone = IntermediateLayerGetter(trunk, {"layer1": "low_level", "layer4": "out"})
        self.classifier = head
        for name, tensor in self.state_dict().items():
            if name.endswith("running_var"):
                nn.init.uniform_(tensor, 0.5, 1.5)
            elif name.endswith("running_mean"):
                nn.init.uniform_(tensor, -0.2, 0.2)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        return F.interpolate(self.classifier(self.backbone(images)), images.shape[-2:], mode="bilinear")


@pytest.mark.parametrize("head", [Classifier, HeadV3])
def test_logits_are_equal(head: type[nn.Module]) -> None:
    reference, images = Reference(head()), torch.randn(1, 3, 64, 81)
    imported = from_vainf(reference.state_dict())
    with torch.no_grad():
        expected, logits = reference(images), imported.network(images)
    assert (logits - expected).abs().max() < 1e-5 * (expected.max() - expected.min())
    assert set(imported.used) == {name for name in reference.state_dict() if "num_batches" not in name}


def test_other_networks_are_refused() -> None:
    for name, words in (
        ("backbone.low_level_features.0.0.weight", "MobileNet"),
        ("backbone.conv1.weight", "ResNet-50"),
        ("backbone.layer1.0.conv3.weight", "ResNet-50"),
    ):
        with pytest.raises(ValueError, match=words):
            from_vainf({name: torch.zeros(1)})


def test_a_file_with_a_numpy_score_is_read_and_nothing_is_executed(tmp_path: Path) -> None:
    path = tmp_path / "best.pth"
    torch.save({"model_state": {"weight": torch.ones(2)}, "best_score": np.float64(0.77)}, path)
    assert torch.equal(find_state_dict(path)["weight"], torch.ones(2))
    torch.save({"weights": {"weight": torch.ones(2)}}, path)
    with pytest.raises(ValueError, match="state_dict"):
        find_state_dict(path)
    torch.save({"model_state": {"weight": torch.ones(2)}, "path": Path("anything")}, path)
    with pytest.raises(ValueError, match="execute"):
        find_state_dict(path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match="best.pth"):
        find_state_dict(path)
