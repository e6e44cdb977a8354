"""Parts of a network that do not train."""

from collections.abc import Iterator, Sequence

from torch import nn

from deeplab_lightning.models.batch_norm import batch_norms


def freeze(network: nn.Module, parts: Sequence[str], freeze_batch_norm: bool) -> None:
    """Freeze parts of a network and, on request, every batch norm.

    Args:
        network: The network.
        parts: Names of the parts ("backbone", "classifier.0").
        freeze_batch_norm: Every batch norm is frozen.

    Raises:
        ValueError: A part to freeze does not exist, or there is no batch norm to freeze.
    """
    if freeze_batch_norm and not any(True for _ in batch_norms(network)):
        raise ValueError(f"freeze_batch_norm: {type(network).__name__} has no batch norm with these settings")
    if unknown := sorted(set(parts) - {name for name, _ in network.named_modules()}):
        own = [name for name, _ in network.named_children()]
        raise ValueError(f"frozen names {unknown}, but the network's parts are {own}")
    for part in (*map(network.get_submodule, parts), *frozen_norms(network, parts, freeze_batch_norm)):
        part.requires_grad_(False)


def frozen_norms(network: nn.Module, parts: Sequence[str], freeze_batch_norm: bool) -> Iterator[nn.Module]:
    """Find the batch norms with frozen statistics: those of the frozen parts, or all."""
    frozen = [network] if freeze_batch_norm else [network.get_submodule(name) for name in parts]
    return (layer for part in frozen for layer in batch_norms(part))
