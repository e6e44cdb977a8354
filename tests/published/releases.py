"""Archives in the layout of the TensorFlow release with random weights of its smallest network."""

import tarfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deeplab_lightning.models.build import build_network
from deeplab_lightning.models.layers import SegmentationNetwork
from deeplab_lightning.published.cache import place
from deeplab_lightning.published.entries import entry
from deeplab_lightning.published.tensorflow_names import aspp_places, mobilenet_places
from tests.published.formats.writers import write_bundle

SMALLEST = "tensorflow/mobilenetv2_dm05_coco_voc_trainaug"
"""The published checkpoint with the fewest weights: 0.7 million."""
PREFIX = "model.ckpt-30000"  # the MobileNetV2 checkpoints of the release have this prefix (local_test_mobilenetv2.sh)


def random_network(name: str = SMALLEST) -> SegmentationNetwork:
    """The network of an entry, with random weights and statistics."""
    own = entry(name)
    torch.manual_seed(0)
    network = build_network(own.kind, own.arguments)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.1, 0.1)  # type: ignore[arg-type]  # it has statistics
            nn.init.uniform_(layer.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    return network.eval()


def variables(network: SegmentationNetwork) -> dict[str, NDArray[np.float32]]:
    """The variables of a MobileNetV2 with the light head, and those that only training needs."""
    found: dict[str, NDArray[np.float32]] = {"global_step": np.zeros((), np.float32)}
    scopes = dict(mobilenet_places("mobilenet_v2")) | dict(aspp_places(0, separable=False))
    scopes["logits/semantic"] = ("classifier", "")
    for scope, (conv, norm) in scopes.items():
        layer = network.get_submodule(conv)
        assert isinstance(layer, nn.Conv2d)
        depthwise = layer.groups > 1
        weight = layer.weight.detach().numpy()
        if scope == "concat_projection":  # the release's first branch is image pooling, which is the last here
            weight = np.roll(weight, weight.shape[0], 1)
        kind = "depthwise_weights" if depthwise else "weights"
        found[f"{scope}/{kind}"] = np.ascontiguousarray(weight.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0)))
        found[f"{scope}/{kind}/Momentum"] = found[f"{scope}/{kind}"]
        if not norm:
            found[f"{scope}/biases"] = layer.bias.detach().numpy()  # type: ignore[union-attr]
            continue
        for own, name in (("weight", "gamma"), ("bias", "beta"), ("running_mean", "moving_mean")):
            found[f"{scope}/BatchNorm/{name}"] = network.state_dict()[f"{norm}.{own}"].numpy()
        found[f"{scope}/BatchNorm/moving_variance"] = network.state_dict()[f"{norm}.running_var"].numpy()
    return found


def write_release(path: Path, network: SegmentationNetwork) -> Path:
    """Write a network as the release publishes its own: a folder with a checkpoint in a compressed tar."""
    folder = path.parent / "made" / "deeplabv3_release"
    folder.mkdir(parents=True)
    write_bundle(folder / PREFIX, variables(network))
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        tar.add(folder, folder.name)
    return path


def prepare_cache(folder: Path, network: SegmentationNetwork, name: str = SMALLEST) -> None:
    """Put a network into the folder that DEEPLAB_WEIGHTS names, as if it had been downloaded."""
    path = place(entry(name))
    assert folder in path.parents
    path.parent.mkdir(parents=True, exist_ok=True)
    write_release(path, network)
