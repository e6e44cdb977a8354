"""Seeds of the dropout of a whole network."""

from collections.abc import Sequence

from torch import nn

from deeplab_lightning.models.dropout import SampleDropout


def seed_dropout(network: nn.Module, key: tuple[int, ...], places: Sequence[int]) -> None:
    """Seed the masks that each layer of dropout draws for the next batch.

    Args:
        network: The network.
        key: Numbers that all images of the batch share, none negative, such as the seed and the step.
        places: The place of each image in the batch of all processes.
    """
    layers = (layer for layer in network.modules() if isinstance(layer, SampleDropout))
    for number, layer in enumerate(layers):
        layer.seed((*key, number), places)
