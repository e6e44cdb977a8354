"""Models read from checkpoints: the network, its description, and the CRF that was trained as layers after it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deeplab_lightning.atomic import replacing
from deeplab_lightning.checkpoint_file import read_checkpoint
from deeplab_lightning.crf.crf_rnn import CRFRNN
from deeplab_lightning.datasets.transforms import NORMALIZATIONS
from deeplab_lightning.description import DESCRIPTION, ModelDescription, PixelNormalization
from deeplab_lightning.models.build import NETWORKS, complete_arguments, restore_network
from deeplab_lightning.models.layers import SegmentationNetwork
from deeplab_lightning.palette import Palette

NETWORK, LAYERS = "network.", "crf."
"""The beginnings of the names of a checkpoint's tensors that belong to the network and to a CRF as layers."""
KEPT = ("state_dict", DESCRIPTION, "hyper_parameters", "module", "global_step", "epoch", "pytorch-lightning_version")
"""The parts of a checkpoint that evaluating and segmenting need; the rest only serves to resume the training."""
OF_THE_TRAINING = {
    *("class_names", "optimizer", "lr", "momentum", "weight_decay", "bias_lr_multiplier", "lr_multipliers"),
    *("poly_power", "step_size", "upsample_logits", "frozen", "freeze_batch_norm", "batch_norm_momentum", "crf_rnn"),
    *("crf_normalization", "start_from", "normalization", "class_weights", "scales", "flip", "trimap_width"),
    *("loss", "window", "window_stride", "fit_to", "recompute_backbone", "compile"),
}
"""The names in `hyper_parameters` that are no arguments of the network, in checkpoints without a description."""


@dataclass(frozen=True)
class Model:
    """A network that can segment images.

    Args:
        network: The network, in evaluation mode, without gradients.
        description: The description of the network, its classes and its images.
        layers: The CRF that was trained as layers after the network; None without one.
        digest: SHA-256 of all weights and of the description, which tells models apart.
    """

    network: SegmentationNetwork
    description: ModelDescription
    layers: CRFRNN | None
    digest: str

    def tensors(self) -> dict[str, Tensor]:
        """The weights and running statistics by name, as a checkpoint has them."""
        parts = {NETWORK: self.network, LAYERS: self.layers}
        return {
            prefix + name: tensor
            for prefix, part in parts.items()
            if part is not None
            for name, tensor in part.state_dict().items()
        }


def read_model(path: Path, output_stride: int | None = None) -> Model:
    """Read a model from a checkpoint of `deeplab fit` or `deeplab weights slim`.

    Args:
        path: The checkpoint.
        output_stride: Output stride in place of that of the training.

    Raises:
        OSError: The file cannot be opened.
        ValueError: The file is damaged, not a checkpoint, or describes another model than its weights are of; or the
            network has no such output stride.
    """
    checkpoint = read_checkpoint(path)
    try:
        return assemble(describe(checkpoint), checkpoint["state_dict"], output_stride)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def assemble(description: ModelDescription, tensors: Mapping[str, Tensor], output_stride: int | None = None) -> Model:
    """Build the model of a description from its weights.

    Args:
        description: The description.
        tensors: The weights by name, as a checkpoint has them. The model shares their memory.
        output_stride: Output stride in place of that of the training.

    Raises:
        ValueError: The weights are of another model, or the network has no such output stride.
    """
    arguments = dict(description.arguments)
    if output_stride is not None:
        known = description.network in NETWORKS
        if known and "output_stride" not in complete_arguments(description.network, arguments):
            raise ValueError(f"{description.network} has one output stride alone; leave output_stride out")
        arguments["output_stride"] = output_stride
    network = restore_network(description.network, arguments, _part(tensors, NETWORK))
    layers = _layers(description, _part(tensors, LAYERS))
    return Model(network, description, layers, _digest(tensors, description))


def describe(checkpoint: Mapping[str, Any]) -> ModelDescription:
    """Return the description in a checkpoint; for an older checkpoint, reconstruct it from its settings.

    Raises:
        ValueError: The description is faulty, or an older checkpoint lacks its settings.
    """
    if DESCRIPTION in checkpoint:
        return ModelDescription.of_dict(checkpoint[DESCRIPTION])
    settings, module = checkpoint.get("hyper_parameters"), checkpoint.get("module")
    if not isinstance(settings, Mapping) or not isinstance(settings.get("num_classes"), int):
        raise ValueError("it is not a checkpoint of `deeplab fit`: it has neither a description nor settings")
    network = str(module).removesuffix("Module")
    if network not in NETWORKS:
        known = ", ".join(f"{name}Module" for name in NETWORKS)
        raise ValueError(f"it has no description, and its class {module} is not one of {known}")
    names = settings.get("class_names") or [str(index) for index in range(settings["num_classes"])]
    try:
        mean, std, is_bgr = NORMALIZATIONS[settings.get("normalization", "imagenet")]
        return ModelDescription(
            network=network,
            arguments={name: value for name, value in settings.items() if name not in OF_THE_TRAINING},
            palette=Palette.voc(names),
            normalization=PixelNormalization(mean, std, channel_order="reversed" if is_bgr else "stored"),
            crf_layers=settings.get("crf_normalization", "symmetric") if settings.get("crf_rnn") else None,
            assumed=(
                "the checkpoint has no description: the network comes from its settings, the colours are VOC's, and "
                "images are taken whole",
            ),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"its settings cannot be used ({error})") from error


def slim(path: Path) -> dict[str, Any]:
    """Read what is needed of a checkpoint to evaluate it and to segment with it, without what only a resume needs.

    Raises:
        OSError: The file cannot be opened.
        ValueError: The file is damaged or not a checkpoint with a model.
    """
    read_model(path)
    checkpoint = read_checkpoint(path)
    kept = {name: value for name, value in checkpoint.items() if name in KEPT}
    return kept | {DESCRIPTION: describe(checkpoint).as_dict()}


def keep_crf(path: Path, settings: Mapping[str, Any] | None) -> bool:
    """Write a CRF setting into the description in a checkpoint, whose other parts stay as they are.

    Args:
        path: The checkpoint.
        settings: The setting, by the names of `DenseCRF`; None if there is none.

    Returns:
        Whether the file was changed.

    Raises:
        OSError: The file cannot be read or written.
        ValueError: The file is damaged, or neither describes its model nor holds its settings.
    """
    checkpoint = read_checkpoint(path)
    description = describe(checkpoint)
    if description.crf == settings:
        return False
    described = replace(description, crf=None if settings is None else dict(settings))
    with replacing(path) as draft:
        torch.save(checkpoint | {DESCRIPTION: described.as_dict()}, draft)
    return True


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _layers(description: ModelDescription, tensors: dict[str, Tensor]) -> CRFRNN | None:
    if description.crf_layers is None:
        if tensors:
            raise ValueError("it has the weights of a CRF as layers, which its description does not mention")
        return None
    layers = CRFRNN(len(description.class_names), normalization=description.crf_layers)
    try:
        layers.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"its CRF layers do not fit ({' '.join(str(error).split())})") from error
    return layers.requires_grad_(False).eval()


def _digest(tensors: Mapping[str, Tensor], description: ModelDescription) -> str:
    digest = hashlib.sha256(str(description.as_dict()).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
