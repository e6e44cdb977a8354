"""DeepLabv3+ under Lightning."""

from typing import Any

from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus
from deeplab_lightning.modules.base import SegmentationModule


class DeepLabV3PlusModule(SegmentationModule):
    """DeepLabv3+ (arXiv:1802.02611)."""

    def configure_network(self, num_classes: int, **kwargs: Any) -> DeepLabV3Plus:
        """Build the network from its own arguments."""
        return DeepLabV3Plus(num_classes, **kwargs)
