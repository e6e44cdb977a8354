"""DeepLabv3's cascade of blocks under Lightning."""

from typing import Any

from deeplab_lightning.models.deeplab_v3_cascade import DeepLabV3Cascade
from deeplab_lightning.modules.base import SegmentationModule


class DeepLabV3CascadeModule(SegmentationModule):
    """DeepLabv3 with blocks in cascade and no ASPP (arXiv:1706.05587, section 3.2)."""

    def configure_network(self, num_classes: int, **kwargs: Any) -> DeepLabV3Cascade:
        """Build the network from its own arguments."""
        return DeepLabV3Cascade(num_classes, **kwargs)
