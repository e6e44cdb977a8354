"""The backbone of published weights, which `model.pretrained` names, as the start of a training."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from deeplab_lightning.checkpoint_file import read_checkpoint
from deeplab_lightning.models.encoders import imagenet_publisher
from deeplab_lightning.models.imagenet import for_channels
from deeplab_lightning.models.resnet import CASCADE
from deeplab_lightning.modules.start_from import PREFIX, rewired
from deeplab_lightning.published.catalogue import checkpoint

TRUNK_WIRING = ("stride_unit", "batch_norm_eps", "strided_padding")
COUNTER = "num_batches_tracked"
VGG, STEM = "vgg16", "conv7x7"
"""The backbone of modules without the setting, and the stem of torchvision's ResNets."""


def published_name(hparams: Mapping[str, Any]) -> str | None:
    """Return the name of published weights in the setting `pretrained`; None if it is true or false.

    Args:
        hparams: Hyperparameters of a module.

    Raises:
        ValueError: It is true, and those ImageNet weights take images of another normalisation.
    """
    publisher, expected = imagenet_publisher(hparams.get("backbone", VGG), hparams.get("stem", STEM))
    pretrained = hparams.get("pretrained")
    if pretrained is True and expected not in (None, hparams["normalization"]):
        raise ValueError(
            f"pretrained: the ImageNet weights of {publisher} take images of normalization {expected!r}; "
            f"set model.normalization to it, got {hparams['normalization']!r}"
        )
    return pretrained if isinstance(pretrained, str) else None


def _substitute(hparams: Mapping[str, Any]) -> str:
    """Say with which options a training starts from the weights of torchvision or timm instead."""
    backbone = hparams.get("backbone", VGG)
    publisher, normalization = imagenet_publisher(backbone, STEM)
    needed = {
        "normalization": normalization,
        "stride_unit": hparams.get("stride_unit") if backbone == VGG else "first",  # VGG-16 has no such units
        "stem": STEM,
        "batch_norm_eps": None,
        "strided_padding": "symmetric",
    }
    changed = {name: value for name, value in needed.items() if hparams.get(name, value) != value}
    options = {"pretrained": "true"} | {name: "null" if value is None else value for name, value in changed.items()}
    words = " ".join(f"--model.{name} {value}" for name, value in options.items())
    return f"or start from {publisher}'s ImageNet weights with {words}"


def load_pretrained(network: nn.Module, name: str, hparams: Mapping[str, Any]) -> None:
    """Load the backbone of published weights, and VGG-16's fc6 and fc7 if they are there, into a network.

    Blocks after block4 of a ResNet start at random.

    Args:
        network: The network, whose weights are replaced.
        name: Name of the weights in the catalogue.
        hparams: Hyperparameters of the network's module.

    Raises:
        UsageError: There is no such name.
        DataError: The weights cannot be downloaded; the message says where to put them, and what to use instead.
        ValueError: The weights are those of another backbone, or expect images of another normalisation.
    """
    content = read_checkpoint(checkpoint(name, _substitute(hparams)))
    theirs = content["hyper_parameters"]
    if theirs["normalization"] != hparams["normalization"]:
        raise ValueError(
            f"pretrained: {name} takes images of normalization {theirs['normalization']!r}; "
            f"set model.normalization to it, got {hparams['normalization']!r}"
        )
    if differing := rewired(theirs, hparams, TRUNK_WIRING):
        raise ValueError(f"pretrained: {name} is of another backbone: {differing}")
    given = {key.removeprefix(PREFIX): value for key, value in content["state_dict"].items()}
    own = network.state_dict()
    tensors = for_channels(_counterparts(given, own), own)
    wrong = [
        key
        for key, value in own.items()
        if key.startswith(("backbone.", "head."))
        and not key.endswith(COUNTER)
        and not key.startswith(tuple(f"backbone.{block}" for block in CASCADE))
        and (key not in tensors or tensors[key].shape != value.shape)
    ]
    if wrong:
        raise ValueError(
            f"pretrained: {name} is of another backbone: {len(wrong)} tensors do not fit, first {wrong[0]}"
        )
    network.load_state_dict({key: value for key, value in tensors.items() if key in own}, strict=False)
    rank_zero_info(f"Backbone of {name}: {len(tensors)} tensors")


def _counterparts(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of the backbone and of fc6 and fc7; v2's branches all start from the same fc6 and fc7."""
    tensors = {key: value for key, value in given.items() if key.startswith(("backbone.", "head."))}
    for key in own:
        parts = key.split(".")
        if key not in tensors and parts[:2] == ["head", "branches"]:
            single = ".".join(["head", *parts[3:]])
            if single in given:
                tensors[key] = given[single]
    return {key: value for key, value in tensors.items() if key in own}
