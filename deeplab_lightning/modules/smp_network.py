"""Networks of segmentation-models-pytorch under Lightning."""

from typing import Any

from deeplab_lightning.models.smp_network import SMPNetwork
from deeplab_lightning.modules.base import SegmentationModule


class SMPModule(SegmentationModule):
    """Any network of segmentation-models-pytorch, with the data, the loss and the evaluation of the DeepLab modules."""

    def configure_network(self, num_classes: int, **kwargs: Any) -> SMPNetwork:
        """Build the network from its own arguments."""
        return SMPNetwork(num_classes, **kwargs)
