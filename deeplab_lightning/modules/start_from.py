"""Start a training from the weights of another one."""

from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import nn

PREFIX = "network."


def start_from(network: nn.Module, path: str) -> None:
    """Load the weights of a run's checkpoint into a network that may have parts which that run did not have.

    Every tensor of the checkpoint must fit, but for a classifier of another number of classes, which starts anew; every
    tensor of the backbone must be there. What starts anew is logged.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is of another network.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"start_from: {path}: no such checkpoint")
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    tensors = {key.removeprefix(PREFIX): value for key, value in checkpoint["state_dict"].items() if PREFIX in key}
    own = network.state_dict()
    fitting = {key: value for key, value in tensors.items() if key in own and own[key].shape == value.shape}
    left = [key for key in tensors if key not in fitting and not key.startswith("classifier.")]
    missing = [key for key in own if key not in fitting and key.startswith("backbone.")]
    if left or missing:
        raise ValueError(
            f"start_from: {path} is of another network: {len(left)} of its tensors do not fit, "
            f"{len(missing)} of the backbone's are missing; the first is {(left + missing)[0]}"
        )
    network.load_state_dict(fitting, strict=False)
    new = sorted({key.rpartition(".")[0] for key in own if key not in fitting})
    rank_zero_info(f"Started from {path}: {len(fitting)} tensors; anew: {', '.join(new) or 'nothing'}")
