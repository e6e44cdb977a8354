"""State dictionaries of other PyTorch projects: their files, read without executing anything, and their names."""

import pickle
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from deeplab_lightning.models.resnet import UNITS

StateDict = Mapping[str, Tensor]
Tensors = dict[str, tuple[str, Tensor]]
"""The source's name and the tensor, by the network's name."""
Rule = tuple[str, str | Callable[[re.Match[str]], str]]
"""A pattern of the start of the source's names, and what replaces it."""

MAKER = np.float64(0).__reduce__()[0]
NUMPY_NUMBERS: list[Any] = [np.dtype, np.float64, type(np.dtype("f8")), type(np.dtype("f4"))]
NUMPY_NUMBERS += [MAKER, (MAKER, "numpy.core.multiarray.scalar")]  # its name before numpy 2
"""What the pickle of a numpy number names: the best score of a training lies beside its weights as one."""
KEYS = ("state_dict", "model_state", "model")
"""The names under which projects store the state dictionary beside other things."""


def find_state_dict(path: Path) -> dict[str, Tensor]:
    """The state dictionary in a file of `torch.save`, alone or under one of the names that are in use.

    Raises:
        OSError: The file cannot be opened.
        ValueError: The file is damaged, holds what would have to be executed, or has no state dictionary.
    """
    content = read_content(path)
    inner = [content[key] for key in KEYS if key in content] if isinstance(content, dict) else []
    for each in (content, *inner):
        if is_state_dict(each):
            return cast("dict[str, Tensor]", each)
    raise ValueError(f"{path}: it has no state dictionary, neither alone nor as {' or '.join(KEYS)}")


def read_content(path: Path) -> object:
    """The content of a file of `torch.save`.

    Raises:
        OSError: The file cannot be opened.
        ValueError: The file is damaged, or holds what would have to be executed.
    """
    try:
        with torch.serialization.safe_globals(NUMPY_NUMBERS):
            content: object = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path}: it holds more than tensors and numbers, or is damaged; loading it could execute anything"
        ) from error
    except Exception as error:  # torch has no error of its own for a file that it cannot read
        raise ValueError(f"{path}: it is no file of torch.save, or a damaged one") from error
    return content


def is_state_dict(content: object) -> bool:
    """Whether a content maps names to tensors."""
    return isinstance(content, dict) and bool(content) and all(isinstance(each, Tensor) for each in content.values())


def rename(state_dict: StateDict, rules: Sequence[Rule]) -> Tensors:
    """Give tensors the network's names: the first rule that fits replaces the start of a name.

    Raises:
        ValueError: No rule fits a name, or two names have the same place.
    """
    tensors: Tensors = {}
    for name, tensor in state_dict.items():
        if name.endswith("num_batches_tracked"):
            continue
        for pattern, replacement in rules:
            own, count = re.subn(f"^{pattern}", replacement, name)
            if count:
                if own in tensors:
                    raise ValueError(f"the weights have {name} and {tensors[own][0]}, of which the network needs one")
                tensors[own] = (name, tensor)
                break
        else:
            raise ValueError(f"the weights have {name}, which is not of a network that is known here")
    return tensors


def aspp_rules(scope: str, separable: bool = False) -> list[Rule]:
    """Return the rules for torchvision's ASPP, whose names other projects have taken over.

    Args:
        scope: Pattern of the ASPP's own name.
        separable: The 3x3 branches are separable convolutions without a norm inside.
    """
    rules: list[Rule] = [
        (rf"{scope}convs\.4\.1\.", "aspp.branches.4.conv."),
        (rf"{scope}convs\.4\.2\.", "aspp.branches.4.bn."),
    ]
    if separable:
        rules.append((rf"{scope}convs\.([123])\.0\.", r"aspp.branches.\1."))
        rules.append((rf"{scope}convs\.([123])\.1\.", r"aspp.branches.\1.2."))
    rules.append((rf"{scope}convs\.", "aspp.branches."))
    return [*rules, (rf"{scope}project\.", "aspp.project.")]


def resnet_depth(names: Iterable[str]) -> int:
    """The depth of the ResNet that has these tensors, 50 or 101.

    Raises:
        ValueError: There is no such ResNet.
    """
    present = set(names)
    if "backbone.layer1.0.conv3.weight" in present:
        for depth in (101, 50):
            if f"backbone.layer3.{UNITS[depth][2] - 1}.conv1.weight" in present:
                return depth
    raise ValueError("the backbone is no ResNet-50 or ResNet-101")


def num_classes(state_dict: StateDict, name: str) -> int:
    """The number of classes, from the weights of the classifier.

    Raises:
        ValueError: They are missing.
    """
    if name not in state_dict:
        raise ValueError(f"the weights have no {name}, which would tell the number of classes")
    return len(state_dict[name])


def swap_inputs(tensors: Tensors, name: str, first: int) -> None:
    """Put the first input channels of a convolution last, in place: the source concatenates in another order."""
    source, weight = tensors[name]
    tensors[name] = (source, torch.cat([weight[:, first:], weight[:, :first]], 1))
