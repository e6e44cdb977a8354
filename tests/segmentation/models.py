"""Checkpoints of small networks with random weights that find several classes, for the tests of segmentation."""

from pathlib import Path
from typing import Any

import torch

from deeplab_lightning.description import DESCRIPTION, ModelDescription, PixelNormalization
from deeplab_lightning.models.build import build_network
from deeplab_lightning.palette import Palette
from tests.thin import an_eighth_of_the_channels

NAMES = ("background", "road", "car")
PIXELS = PixelNormalization((0.5, 0.4, 0.3), (0.25, 0.2, 0.3))


def describe_small(**changes: Any) -> ModelDescription:
    """The description of a network without image-level features."""
    arguments = {"num_classes": 3, "backbone": "mobilenet_v2", "atrous_rates": [1], "aspp_channels": 8}
    values: dict[str, Any] = {
        "network": "DeepLabV3",
        "arguments": arguments | {"image_pooling": False} | changes.pop("arguments", {}),
        "palette": Palette.voc(NAMES),
        "normalization": PIXELS,
    }
    return ModelDescription(**values | changes)


def write_checkpoint(path: Path, description: ModelDescription, seed: int = 0) -> Path:
    """Write a checkpoint with what `fit` writes besides the weights, and return its path."""
    torch.manual_seed(seed)
    network = build_network(description.network, description.arguments)
    network.train()
    with torch.no_grad():
        for _ in range(12):  # running statistics that keep the features apart
            network(torch.randn(2, description.normalization.num_channels, 64, 64))
        network.eval()
        classifier: Any = network.classifier
        features: list[torch.Tensor] = []
        handle = classifier.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
        network(torch.randn(1, description.normalization.num_channels, 128, 128))
        handle.remove()
        classifier.weight.normal_().div_(features[0].std((0, 2, 3))[:, None, None] + 1e-3)
        classifier.bias.copy_(-classifier.weight[:, :, 0, 0] @ features[0].mean((0, 2, 3)))
    checkpoint = {
        "state_dict": {f"network.{name}": tensor for name, tensor in network.state_dict().items()},
        "optimizer_states": [{"state": torch.zeros(1000)}],
        "global_step": 7,
        DESCRIPTION: description.as_dict(),
    }
    torch.save(checkpoint, path)
    return path


def write_thin_v1(
    path: Path, palette: Palette, pixels: PixelNormalization = PIXELS, crf: dict[str, Any] | None = None
) -> Path:
    """Write a checkpoint of a thin DeepLabv1, the network that is exported the fastest, and return its path."""
    torch.manual_seed(0)
    arguments = {"num_classes": len(palette.class_names), "in_channels": pixels.num_channels}
    description = ModelDescription("DeepLabV1", arguments, palette, pixels, crf=crf)
    with an_eighth_of_the_channels():
        network = build_network(description.network, description.arguments)
    for name, weight in network.named_parameters():
        if name.endswith("weight"):
            torch.nn.init.kaiming_normal_(weight)
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": tensors, DESCRIPTION: description.as_dict()}, path)
    return path
