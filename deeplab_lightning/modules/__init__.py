"""Networks under Lightning."""

from typing import TYPE_CHECKING

from deeplab_lightning.exports import exports

if TYPE_CHECKING:
    from deeplab_lightning.modules.base import SegmentationModule as SegmentationModule
    from deeplab_lightning.modules.deeplab_v1 import DeepLabV1Module as DeepLabV1Module
    from deeplab_lightning.modules.deeplab_v2 import DeepLabV2Module as DeepLabV2Module
    from deeplab_lightning.modules.deeplab_v3 import DeepLabV3Module as DeepLabV3Module
    from deeplab_lightning.modules.deeplab_v3_cascade import DeepLabV3CascadeModule as DeepLabV3CascadeModule
    from deeplab_lightning.modules.deeplab_v3plus import DeepLabV3PlusModule as DeepLabV3PlusModule

__getattr__ = exports(
    __name__,
    {
        "DeepLabV1Module": "deeplab_v1",
        "DeepLabV2Module": "deeplab_v2",
        "DeepLabV3Module": "deeplab_v3",
        "DeepLabV3CascadeModule": "deeplab_v3_cascade",
        "DeepLabV3PlusModule": "deeplab_v3plus",
        "SegmentationModule": "base",
    },
)
