"""Loading the weights of another run to start a training, and checking those of a checkpoint to resume one."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning import LightningModule
from lightning.pytorch.utilities import rank_zero_info
from torch import nn

from deeplab_lightning.checkpoint_file import ORIGIN, TRUNK, read_checkpoint
from deeplab_lightning.models.imagenet import for_channels
from deeplab_lightning.modules.class_weights import set_class_weights
from deeplab_lightning.published.catalogue import resolve

if TYPE_CHECKING:
    from deeplab_lightning.modules.base import SegmentationModule

PREFIX = "network."
UNTRAINED = "random, not trained"
"""The evaluation identity's description of weights that were not trained, or not all of them."""
WIRING = {"stride_unit": "first_1x1", "low_level_features": "block", "pool_size": 3, "pool5a": True}
WIRING |= {"batch_norm_eps": None, "strided_padding": "symmetric"}
"""Settings that change the meaning of weights but not their shapes, each with the value of older checkpoints, which
lack the setting."""


def load_start(network: nn.Module, path: str, hparams: Mapping[str, Any]) -> str:
    """Load the weights of a run's checkpoint into a network, which may have additional parts.

    Every tensor of the checkpoint must fit, except those of a classifier with another number of classes, which keeps
    its initial weights. The checkpoint must hold the whole backbone. The names of layers that keep their initial
    weights are logged. Weights for RGB serve images of other channels as well (see `for_channels`). The poolings may
    differ, because MSc's differ from those of the model from which it starts; the unit that strides in a ResNet may
    not.

    Args:
        network: The network, whose weights are replaced.
        path: Path of the checkpoint, or name of published weights.
        hparams: Hyperparameters of the network's module.

    Returns:
        The origin of the weights in the words of the evaluation identity; UNTRAINED if a part keeps initial weights.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file holds another network, or is damaged or not a checkpoint.
    """
    file = resolve(path)
    if not Path(file).is_file():
        raise FileNotFoundError(f"start_from: {path}: no such checkpoint")
    checkpoint = read_checkpoint(file)
    if checkpoint.get(TRUNK):
        raise ValueError(f"start_from: {path} is a backbone alone; set model.pretrained to it instead")
    if differing := rewired(checkpoint.get("hyper_parameters"), hparams, ("stride_unit", "low_level_features")):
        raise ValueError(f"start_from: {path} holds another network: {differing}")
    tensors = {
        key.removeprefix(PREFIX): value for key, value in checkpoint["state_dict"].items() if key.startswith(PREFIX)
    }
    own = network.state_dict()
    tensors = for_channels(tensors, own)
    fitting = {key: value for key, value in tensors.items() if key in own and own[key].shape == value.shape}
    left = [key for key in tensors if key not in fitting and not key.startswith("classifier.")]
    missing = [key for key in own if key not in fitting and key.startswith("backbone.")]
    if left or missing:
        raise ValueError(
            f"start_from: {path} holds another network: {len(left)} of its tensors do not fit, "
            f"{len(missing)} of the backbone's are missing; the first is {(left + missing)[0]}"
        )
    network.load_state_dict(fitting, strict=False)
    new = sorted({key.rpartition(".")[0] for key in own if key not in fitting})
    rank_zero_info(f"Started from {path}: {len(fitting)} tensors; newly initialised: {', '.join(new) or 'nothing'}")
    return UNTRAINED if new else origin_of(checkpoint)


def origin_of(checkpoint: Mapping[str, Any]) -> str:
    """Return the origin of a checkpoint's weights in the words of the evaluation identity."""
    return str(checkpoint.get(ORIGIN) or f"of step {checkpoint['global_step']}")


def check_fits(checkpoint: Mapping[str, Any], module: LightningModule) -> None:
    """Refuse a checkpoint that a module cannot load.

    Raises:
        ValueError: The checkpoint holds another number of classes or of channels, or another network.
    """
    theirs, own = checkpoint.get("hyper_parameters", {}), module.hparams
    shapes = {key: value.shape for key, value in checkpoint.get("state_dict", {}).items()}
    own_shapes = {key: value.shape for key, value in module.state_dict().items()}
    path, here = _path_of_checkpoint(module), type(module).__name__
    there = checkpoint.get("module", here)
    if there != here and shapes != own_shapes:
        raise ValueError(f"{path} holds a {there}, but a {here} was asked for; set model.class_path to {there}")
    num_classes = theirs.get("num_classes", own["num_classes"])
    if num_classes != own["num_classes"]:
        raise ValueError(f"{path} was trained for {num_classes} classes, but the data has {own['num_classes']}")
    in_channels = theirs.get("in_channels", 3), own.get("in_channels", 3)
    if in_channels[0] != in_channels[1]:
        raise ValueError(
            f"{path} was trained on images of {in_channels[0]} channels, but the data's have {in_channels[1]}"
        )
    if differing := rewired(theirs, own, WIRING):
        raise ValueError(f"{path} holds another network: {differing}; set them as in its training")
    if shapes != own_shapes:
        wrong = [key for key in own_shapes | shapes if shapes.get(key) != own_shapes.get(key)]
        settings = [
            f"{key} {theirs.get(key, 'not set')} there, {own.get(key, 'not set')} here"
            for key in dict(theirs) | dict(own)
            if own.get(key) != theirs.get(key) and key not in ("pretrained", "start_from")
        ]
        raise ValueError(
            f"{path} holds another network: {len(wrong)} tensors differ, the first is {wrong[0]}; "
            f"settings that differ: {'; '.join(settings) or 'none'}"
        )


def keep_settings(checkpoint: Mapping[str, Any], module: "SegmentationModule") -> None:
    """Set what a checkpoint's training has fixed: the normalisation of its CRF, and class weights that it computed."""
    theirs = checkpoint.get("hyper_parameters", {})
    if module.crf is not None:  # checkpoints that lack the setting were trained with the symmetric normalisation
        module.crf.normalization = theirs.get("crf_normalization", "symmetric")
        module.hparams["crf_normalization"] = module.crf.normalization
    if module.weighs_by_frequency and isinstance(theirs.get("class_weights"), list):
        set_class_weights(module, theirs["class_weights"])


def _path_of_checkpoint(module: LightningModule) -> str:
    """Name the file that the module's trainer loads, if there is one."""
    with suppress(RuntimeError):  # a module without a trainer raises
        return str(module.trainer.ckpt_path or "the checkpoint")
    return "the checkpoint"


def rewired(theirs: Mapping[str, Any] | None, own: Mapping[str, Any], names: Iterable[str]) -> str:
    """Describe those of the named settings that differ between a checkpoint's hyperparameters and the module's own."""
    if not theirs:
        return ""
    pairs = [(name, theirs.get(name, WIRING[name]), own[name]) for name in names if name in own]
    return "; ".join(f"{name} {there} there, {here} here" for name, there, here in pairs if there != here)
