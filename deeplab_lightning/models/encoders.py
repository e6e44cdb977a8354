"""Backbones by name: the ResNets of this package, and any encoder of smp or timm that can be dilated."""

from collections.abc import Sequence

from torch import Tensor, nn

from deeplab_lightning.models.resnet import UNITS, ResNet, Stem, StrideUnit
from deeplab_lightning.models.weights import offline_message


class Encoder(nn.Module):
    """An encoder of segmentation-models-pytorch as a backbone: low-level and last features.

    Args:
        name: an smp name ("mobilenet_v2", "efficientnet-b0") or "tu-" and a timm name ("tu-mobilenetv3_large_100").
        output_stride: 8, 16 or 32; the encoder's own strides past it become rates.
        pretrained: load the encoder's ImageNet weights.

    Raises:
        ValueError: there is no such encoder, it cannot be dilated, or it has no features at stride 4.
        ConnectionError: the weights cannot be downloaded.
    """

    def __init__(self, name: str, output_stride: int = 16, pretrained: bool = False) -> None:
        super().__init__()
        from segmentation_models_pytorch.encoders import get_encoder

        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride}")
        weights = (name.startswith("tu-") or "imagenet") if pretrained else None
        try:
            self.encoder = get_encoder(name, depth=5, weights=weights, output_stride=output_stride)
        except (KeyError, ValueError, TypeError, NotImplementedError) as error:
            reason = str(error.args[0] if error.args else type(error).__name__).partition(", supported encoders")[0]
            raise ValueError(f"backbone {name!r} cannot run at output_stride {output_stride}: {reason}") from error
        except RuntimeError as error:
            raise ValueError(f"backbone {name!r}: {error}") from error
        except OSError as error:
            raise ConnectionError(offline_message(name, error)) from error
        channels = self.encoder.out_channels
        if len(channels) != 6 or channels[2] == 0:
            raise ValueError(f"backbone {name!r} has no features at stride 4 (channels by stage: {channels})")
        self.low_level_channels, self.out_channels = int(channels[2]), int(channels[-1])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (B, 3, H, W) to low-level (B, C1, H/4, W/4) and last features (B, C2, H/stride, W/stride)."""
        features = self.encoder(images)
        return features[2], features[-1]


def build_backbone(
    name: str,
    output_stride: int,
    multi_grid: Sequence[int],
    stem: Stem,
    stride_unit: StrideUnit,
    pretrained: bool,
) -> ResNet | Encoder:
    """The backbone of that name: "resnet18" to "resnet101" are this package's, all others smp's or timm's.

    Raises:
        ValueError: a setting that only the ResNets have is set for another encoder.
    """
    if name in {f"resnet{depth}" for depth in UNITS}:
        return ResNet(int(name.removeprefix("resnet")), output_stride, multi_grid, stem, stride_unit, pretrained)
    if tuple(multi_grid) != (1, 1, 1) or stem != "conv7x7" or stride_unit != "first":
        raise ValueError(
            f"multi_grid, stem and stride_unit act on this package's ResNets only, not on backbone {name!r}"
        )
    return Encoder(name, output_stride, pretrained)
