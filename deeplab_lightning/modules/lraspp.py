"""Lite R-ASPP under Lightning."""

from typing import Any

from deeplab_lightning.models.lraspp import LRASPP
from deeplab_lightning.modules.base import SegmentationModule


class LRASPPModule(SegmentationModule):
    """MobileNetV3 with Lite R-ASPP (arXiv:1905.02244)."""

    def configure_network(self, num_classes: int, **kwargs: Any) -> LRASPP:
        """Build the network from its own arguments."""
        return LRASPP(num_classes, **kwargs)
