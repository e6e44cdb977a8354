"""The optimizer, the learning rate and weight decay of each parameter, and the schedule of the learning rates."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Literal, Self

from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from deeplab_lightning.modules.checks import check_above_zero, check_not_negative
from deeplab_lightning.schedules import poly, step_decay


@dataclass(frozen=True)
class Optimization:
    """The settings of an optimizer and its schedule, which `SegmentationModule` describes.

    Raises:
        ValueError: The optimizer is unknown, the schedule is not one of the two, or a number is out of its range.
    """

    optimizer: Literal["sgd", "adamw"]
    lr: float
    momentum: float
    weight_decay: float
    bias_lr_multiplier: float
    lr_multipliers: Mapping[str, float]
    poly_power: float | None
    step_size: int | None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """Return the optimization that the settings of a module describe."""
        own = {each.name: settings[each.name] for each in fields(cls)}
        return cls(**own | {"lr_multipliers": own["lr_multipliers"] or {}})

    def __post_init__(self) -> None:
        if self.optimizer not in ("sgd", "adamw"):
            raise ValueError(f"optimizer must be 'sgd' or 'adamw', got {self.optimizer!r}")
        if (self.poly_power is None) == (self.step_size is None):
            given = f"got {self.poly_power} and {self.step_size}"
            raise ValueError(f"set one of poly_power and step_size, and the other to null; {given}")
        # torch checks its own defaults alone, not the values of parameter groups, which are set here.
        check_above_zero(lr=self.lr, poly_power=self.poly_power, step_size=self.step_size)
        multipliers = {f"lr_multipliers.{name}": value for name, value in self.lr_multipliers.items()}
        check_not_negative(weight_decay=self.weight_decay, bias_lr_multiplier=self.bias_lr_multiplier, **multipliers)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, got {self.momentum}")

    def configure(self, parts: Mapping[str, nn.Module], max_steps: float) -> OptimizerLRScheduler:
        """Build the optimizer, and the schedule that follows each of its steps.

        Args:
            parts: The network's parts by name.
            max_steps: Number of steps of the whole training, after which the poly schedule reaches 0.

        Raises:
            ValueError: `parameter_groups` refuses the parts, or the poly schedule has no end.
        """
        groups = self.parameter_groups(parts)
        optimizer: Optimizer
        if self.optimizer == "sgd":
            optimizer = SGD(groups, self.lr, self.momentum, fused=True)
        else:
            optimizer = AdamW(groups, self.lr, (self.momentum, 0.999), fused=True)
        if self.step_size is not None:
            schedule = LambdaLR(optimizer, partial(step_decay, step_size=self.step_size))
        elif max_steps == float("inf"):
            raise ValueError("the poly schedule needs an end: set trainer.max_steps or trainer.max_epochs")
        else:
            assert self.poly_power is not None
            schedule = LambdaLR(optimizer, partial(poly, max_steps=int(max_steps), power=self.poly_power))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def parameter_groups(self, parts: Mapping[str, nn.Module]) -> list[dict[str, Any]]:
        """Group the parameters that train by part and kind: weights, depthwise weights, biases, others.

        Args:
            parts: The network's parts by name.

        Raises:
            ValueError: `lr_multipliers` names a part that the network does not have, or nothing trains.
        """
        parts = {name: part for name, part in parts.items() if any(True for _ in part.parameters())}
        if unknown := set(self.lr_multipliers) - set(parts):
            names = f"{sorted(unknown)}, but the parts of the network are {sorted(parts)}"
            raise ValueError(f"lr_multipliers names {names}")
        groups = [
            {
                "name": f"{name}/{kind}",
                "params": parameters,
                "lr": self.lr * self.lr_multipliers.get(name, 1.0) * (self.bias_lr_multiplier if kind == BIASES else 1),
                "weight_decay": self.weight_decay if kind == WEIGHTS else 0.0,
            }
            for name, part in parts.items()
            for kind, parameters in _by_kind(part).items()
        ]
        if not groups:
            raise ValueError("every part of the network is frozen: there is nothing to train")
        return groups


WEIGHTS, DEPTHWISE, BIASES, NORMS, CRF = "weights", "depthwise", "biases", "norms", "crf"
"""The kinds of parameters. Only weights decay; the TensorFlow release excludes depthwise ones (model.py)."""


def _by_kind(part: nn.Module) -> dict[str, list[nn.Parameter]]:
    kinds: dict[str, list[nn.Parameter]] = {}
    for layer in part.modules():
        for parameter in layer.parameters(recurse=False):
            if parameter.requires_grad:
                kinds.setdefault(_kind(layer, parameter), []).append(parameter)
    return kinds


def _kind(layer: nn.Module, parameter: nn.Parameter) -> str:
    if not isinstance(layer, nn.Conv2d | nn.Linear):
        return NORMS if isinstance(layer, _NormBase) else CRF
    if parameter.ndim == 1:
        return BIASES
    return DEPTHWISE if isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1 else WEIGHTS
