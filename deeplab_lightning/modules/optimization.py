"""Which learning rate and weight decay each parameter gets, and how the rate falls."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from deeplab_lightning.schedules import poly, step_decay


def parameter_groups(
    parts: Mapping[str, nn.Module],
    lr: float,
    weight_decay: float,
    bias_lr_multiplier: float,
    lr_multipliers: Mapping[str, float],
) -> list[dict[str, Any]]:
    """Every parameter that trains once, grouped by part and kind: weights, depthwise weights, biases, others.

    Args:
        parts: of the network, by name.
        lr: of all but biases.
        weight_decay: of weights; the other kinds have none.
        bias_lr_multiplier: on the rate of the biases of convolutions.
        lr_multipliers: on the rates of a part, biases included.

    Raises:
        ValueError: `lr_multipliers` names a part that the network does not have, or nothing trains.
    """
    parts = {name: part for name, part in parts.items() if any(True for _ in part.parameters())}
    if unknown := set(lr_multipliers) - set(parts):
        raise ValueError(f"lr_multipliers names {sorted(unknown)}, but the parts of the network are {sorted(parts)}")
    groups: list[dict[str, Any]] = []
    for name, part in parts.items():
        rate = lr * lr_multipliers.get(name, 1.0)
        kinds: dict[str, list[nn.Parameter]] = {}
        for layer in part.modules():
            for parameter in layer.parameters(recurse=False):
                if parameter.requires_grad:
                    kinds.setdefault(_kind(layer, parameter), []).append(parameter)
        groups += [
            {
                "name": f"{name}/{kind}",
                "params": parameters,
                "lr": rate * (bias_lr_multiplier if kind == "biases" else 1.0),
                "weight_decay": weight_decay if kind == "weights" else 0.0,
            }
            for kind, parameters in kinds.items()
        ]
    if not groups:
        raise ValueError("every part of the network is frozen: there is nothing to train")
    return groups


def rate_factor(max_steps: float, poly_power: float | None, step_size: int | None) -> Callable[[int], float]:
    """The factor of the learning rates by step: poly over max_steps, or a tenth after every step_size.

    Raises:
        ValueError: poly without an end.
    """
    if step_size is not None:
        return partial(step_decay, step_size=step_size)
    if max_steps == float("inf"):
        raise ValueError("the poly schedule needs an end: set trainer.max_steps or trainer.max_epochs")
    assert poly_power is not None
    return partial(poly, max_steps=int(max_steps), power=poly_power)


def _kind(layer: nn.Module, parameter: nn.Parameter) -> str:
    """Decayed "weights", "depthwise" weights, "biases" of convolutions; "norms", and "crf" for its own."""
    if not isinstance(layer, nn.Conv2d | nn.Linear):
        return "norms" if isinstance(layer, _NormBase) else "crf"
    if parameter.ndim == 1:
        return "biases"
    return "depthwise" if isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1 else "weights"
