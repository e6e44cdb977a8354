"""DeepLab v1 under Lightning."""

from typing import Any

from deeplab_lightning.models.deeplab_v1 import DeepLabV1
from deeplab_lightning.modules.base import SegmentationModule


class DeepLabV1Module(SegmentationModule):
    """DeepLab v1 (arXiv:1412.7062) on VGG-16.

    Args:
        num_classes: K, background included; from the command line it follows from the data.
        kernel_size: Side of fc6's kernel: 3 (LargeFOV), 4 or 7.
        rate: Atrous rate of fc6: 12 (LargeFOV), 8 or 4.
        fc_channels: Channels of fc6 and fc7: 1024 (LargeFOV) or 4096.
        multi_scale: The MSc branches on the image and pool1 to pool4 are added.
        pool_size: Side of pool1 to pool4: 3, or 2 as in the release's 4x4 model, which trains on sides of 8k + 2.
        pool5a: The trunk ends in an average pooling, as in the release's LargeFOV and MSc-LargeFOV.
        pretrained: load ImageNet weights into the trunk, and thinned out into fc6 and fc7.
        align_corners: grid of the upsampling: True is Caffe's, exact for sides of 8k + 1.
        kwargs: see `SegmentationModule`.
    """

    def __init__(
        self,
        num_classes: int,
        kernel_size: int = 3,
        rate: int = 12,
        fc_channels: int = 1024,
        multi_scale: bool = False,
        pool_size: int = 3,
        pool5a: bool = True,
        pretrained: bool = False,
        align_corners: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, **kwargs)
        network = DeepLabV1(
            num_classes,
            kernel_size=kernel_size,
            rate=rate,
            fc_channels=fc_channels,
            multi_scale=multi_scale,
            pool_size=pool_size,
            pool5a=pool5a,
            pretrained=pretrained,
            align_corners=align_corners,
        )
        self.set_network(network)
