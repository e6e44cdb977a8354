"""DeepLabv3 under Lightning."""

from typing import Any

from deeplab_lightning.models.deeplab_v3 import DeepLabV3
from deeplab_lightning.modules.base import SegmentationModule


class DeepLabV3Module(SegmentationModule):
    """DeepLabv3 (arXiv:1706.05587) with ASPP."""

    def configure_network(self, num_classes: int, **kwargs: Any) -> DeepLabV3:
        """Build the network from its own arguments."""
        return DeepLabV3(num_classes, **kwargs)
