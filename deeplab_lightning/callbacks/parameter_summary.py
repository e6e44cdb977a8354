"""The number of parameters of a network and of its parts, printed before training."""

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.model_summary.model_summary import get_human_readable_count
from torch import nn

from deeplab_lightning.callbacks.run_progress import say


class ParameterSummary(Callback):
    """Prints the number of parameters at the start of a training as one line, in place of Lightning's table."""

    @rank_zero_only
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line."""
        network = pl_module.network
        assert isinstance(network, nn.Module)
        say(summary(network))


def summary(network: nn.Module) -> str:
    """Return a line with the number of parameters of a network and of its parts, and how many of them train."""
    parts = [
        f"{name} {_count(part)}" for name, part in network.named_children() if any(True for _ in part.parameters())
    ]
    trained = _count(network, only_trained=True)
    frozen = "" if trained == _count(network) else f"; {trained} of them train"
    return f"{type(network).__name__}: {_count(network)} parameters ({', '.join(parts)}){frozen}"


def _count(module: nn.Module, only_trained: bool = False) -> str:
    numbers = (parameter.numel() for parameter in module.parameters() if parameter.requires_grad or not only_trained)
    return get_human_readable_count(sum(numbers)).strip()
