"""DeepLab v1 under Lightning."""

from typing import Any

from deeplab_lightning.models.deeplab_v1 import DeepLabV1
from deeplab_lightning.modules.base import SegmentationModule


class DeepLabV1Module(SegmentationModule):
    """DeepLab v1 (arXiv:1412.7062) on VGG-16."""

    def configure_network(self, num_classes: int, **kwargs: Any) -> DeepLabV1:
        """Build the network from its own arguments."""
        return DeepLabV1(num_classes, **kwargs)
