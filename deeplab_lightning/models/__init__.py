"""Networks: torch.nn only."""

from typing import TYPE_CHECKING

from deeplab_lightning.exports import exports

if TYPE_CHECKING:
    from deeplab_lightning.models.build import build_network as build_network
    from deeplab_lightning.models.build import restore_network as restore_network
    from deeplab_lightning.models.deeplab_v1 import DeepLabV1 as DeepLabV1
    from deeplab_lightning.models.deeplab_v2 import DeepLabV2 as DeepLabV2
    from deeplab_lightning.models.deeplab_v3 import DeepLabV3 as DeepLabV3
    from deeplab_lightning.models.deeplab_v3_cascade import DeepLabV3Cascade as DeepLabV3Cascade
    from deeplab_lightning.models.deeplab_v3plus import DeepLabV3Plus as DeepLabV3Plus
    from deeplab_lightning.models.layers import SegmentationNetwork as SegmentationNetwork

__getattr__ = exports(
    __name__,
    {
        "DeepLabV1": "deeplab_v1",
        "DeepLabV2": "deeplab_v2",
        "DeepLabV3": "deeplab_v3",
        "DeepLabV3Cascade": "deeplab_v3_cascade",
        "DeepLabV3Plus": "deeplab_v3plus",
        "SegmentationNetwork": "layers",
        "build_network": "build",
        "restore_network": "build",
    },
)
