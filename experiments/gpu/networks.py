"""The networks whose training is timed, and the networks of other projects with the same architecture."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from training import PEERS_HEAD, SETTINGS, peer

from deeplab_lightning.models.build import build_network
from deeplab_lightning.models.layers import SegmentationNetwork

NUM_CLASSES = 21


@dataclass(frozen=True)
class Case:
    """One of our networks, and the peer of the same architecture.

    Args:
        network: Name of the network's class.
        settings: Arguments of the network.
        batch: Number of images of a step.
        side: Side of the crops in pixels.
        peer: Function that builds the peer's network for a number of classes; None without a peer.
        multiple: The peer refuses images whose sides are no multiples of this.
    """

    network: str
    settings: dict[str, Any]
    batch: int = 16
    side: int = 513
    peer: Callable[[int], nn.Module] | None = None
    multiple: int = 1

    def build(self) -> SegmentationNetwork:
        """Our network, with random weights."""
        return build_network(self.network, {"num_classes": NUM_CLASSES, "pretrained": False, **self.settings})

    def shared_side(self, side: int) -> int:
        """The nearest side below or at a side that the peer takes too."""
        return side - side % self.multiple


def torchvision_parts(num_classes: int) -> nn.Module:
    """Torchvision's DeepLabv3 on ResNet-50 at output stride 16, from its parts: its own function offers 8 alone."""
    from torchvision.models import resnet50
    from torchvision.models.feature_extraction import create_feature_extractor
    from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            trunk = resnet50(weights=None, replace_stride_with_dilation=[False, False, True])
            features = create_feature_extractor(trunk, {"layer4": "out"})
            self.network = DeepLabV3(features, DeepLabHead(2048, num_classes, (6, 12, 18)))

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.network(images)["out"]
            return logits

    return Logits()


def smp_deeplab(encoder: str, num_classes: int) -> nn.Module:
    """DeepLabv3+ of segmentation-models-pytorch, at output stride 16."""
    import segmentation_models_pytorch as smp

    network: nn.Module = smp.DeepLabV3Plus(encoder, encoder_weights=None, classes=num_classes)
    return network


SMP_HEAD = SETTINGS["a"][1] | {"output_stride": 16}
CASES = {
    "v3_resnet50": Case(
        "DeepLabV3",
        PEERS_HEAD | {"backbone": "resnet50", "output_stride": 16, "atrous_rates": [6, 12, 18]},
        peer=torchvision_parts,
    ),
    "v3_resnet50_stride8": Case("DeepLabV3", SETTINGS["b"][1], peer=partial(peer, "b")),
    "v3plus_resnet101": Case(
        "DeepLabV3Plus", SMP_HEAD | {"backbone": "resnet101"}, peer=partial(smp_deeplab, "resnet101"), multiple=16
    ),
    "v3plus_xception65": Case(
        "DeepLabV3Plus",
        {name: value for name, value in SMP_HEAD.items() if name != "stride_unit"} | {"backbone": "xception65"},
        peer=partial(smp_deeplab, "tu-xception65"),
        multiple=16,
    ),
    "v1_largefov": Case(
        "DeepLabV1", {"kernel_size": 3, "rate": 12, "fc_channels": 1024, "pool5a": True}, batch=30, side=321
    ),
}
"""The networks by the names of their pieces."""
