"""Any network of segmentation-models-pytorch (smp): U-Net, FPN, PSPNet and others, to compare the family with."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_lightning.models.imagenet import offline_message
from deeplab_lightning.models.layers import SegmentationNetwork

MULTIPLE = 32
"""Sides of images are padded to a multiple of this number, the largest stride of smp's encoders."""


class SMPNetwork(SegmentationNetwork):
    """An encoder, a decoder and a classifier of smp; the logits are at the images' size.

    Images are padded with their mean (0 after normalisation) at the right and the bottom, because most of smp's
    decoders need sides that their strides divide. Parameters that do not act on the logits do not train: several
    processes would wait for their gradients.

    Args:
        num_classes: Number of classes K, background included.
        architecture: Name of the network in smp: "unet", "fpn", "pspnet", "deeplabv3plus" and so on.
        backbone: Name of the encoder in smp, or "tu-" and a timm name.
        pretrained: The encoder's ImageNet weights are loaded.
        in_channels: Number of channels of the images.
        align_corners: Grid of the scales at evaluation; smp's decoders have grids of their own.
        architecture_settings: Further arguments of smp's network.

    Raises:
        ValueError: The architecture or the encoder does not exist, or a setting does not fit.
        ConnectionError: The weights cannot be downloaded.
    """

    def __init__(
        self,
        num_classes: int,
        architecture: str = "unet",
        backbone: str = "resnet34",
        *,
        pretrained: bool = False,
        in_channels: int = 3,
        align_corners: bool = False,
        architecture_settings: dict[str, Any] | None = None,
    ) -> None:
        from segmentation_models_pytorch import create_model

        super().__init__(num_classes, MULTIPLE, align_corners)
        weights = (backbone.startswith("tu-") or "imagenet") if pretrained else None
        try:
            settings = {"in_channels": in_channels, "classes": num_classes, **(architecture_settings or {})}
            model = create_model(architecture, backbone, weights, **settings)
        except (AssertionError, KeyError, ValueError, TypeError, NotImplementedError) as error:
            reason = str(error.args[0] if error.args else type(error).__name__)
            raise ValueError(f"smp cannot build architecture {architecture!r} on {backbone!r}: {reason}") from error
        except OSError as error:
            raise ConnectionError(offline_message(backbone, error)) from error
        self._channels = in_channels
        self.backbone, self.decoder, self.classifier = model.encoder, model.decoder, model.segmentation_head
        self.output_stride = int(model.encoder.output_stride)
        self.logits_stride = 1
        self._freeze_unused()

    @property
    def in_channels(self) -> int:
        """The number of channels C of an image."""
        return self._channels

    def forward_features(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, K, H, W)."""
        bottom, right = (-side % MULTIPLE for side in images.shape[-2:])
        logits: Tensor = self.classifier(self.decoder(self.backbone(F.pad(images, (0, right, 0, bottom)))))
        return F.pad(logits, (0, -right, 0, -bottom))  # torch.export would keep a slice for padded sides alone

    def _freeze_unused(self) -> None:
        training = self.training
        self.eval()  # keeps the running statistics, and accepts one value per channel
        parameters = list(self.parameters())
        images = torch.zeros(1, self.in_channels, 2 * MULTIPLE, 2 * MULTIPLE, device=parameters[0].device)
        with torch.enable_grad():
            gradients = torch.autograd.grad(self.forward_features(images).sum(), parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.requires_grad_(gradient is not None)
        self.train(training)
