"""Backbones by name: those of this package, and any dilatable encoder of segmentation-models-pytorch (smp) or timm."""

from collections.abc import Sequence
from inspect import signature
from typing import Any, TypeAlias

from torch import Tensor, nn

from deeplab_lightning.models.imagenet import asks_for_imagenet, for_channels, offline_message
from deeplab_lightning.models.mobilenet import MOBILENETS, MobileNet, Padding
from deeplab_lightning.models.resnet import RESNETS, LowLevelFeatures, ResNet, Stem, StrideUnit
from deeplab_lightning.models.xception import XCEPTIONS, Xception
from deeplab_lightning.usage import did_you_mean

Backbone: TypeAlias = "ResNet | Xception | MobileNet | Encoder"
FAMILIES = dict.fromkeys(("multi_grid", "stem", "low_level_features"), ("ResNets", tuple(RESNETS)))
FAMILIES |= {"relu_after_depthwise": ("Xceptions", tuple(XCEPTIONS))}
FAMILIES |= dict.fromkeys(("width_multiplier", "batch_norm_eps", "strided_padding"), ("MobileNets", MOBILENETS))
"""The backbones on which a setting acts, in words and by name."""
CLASSIFIER_HEADS = (("_conv_head", "_bn1"), ("conv_head", "bn2"))
"""Parts of the ImageNet classifiers that smp leaves in its EfficientNets, although the features do not use them."""


def imagenet_publisher(backbone: str, stem: str = "conv7x7") -> tuple[str, str | None]:
    """Return who publishes the weights that `pretrained: true` loads, and the normalisation of images they take.

    Args:
        backbone: Name of the backbone; "vgg16" is torchvision's.
        stem: Stem of a ResNet.

    Returns:
        "torchvision", "timm" or "smp", and a value of `normalization`; None where each encoder has its own.
    """
    if backbone in XCEPTIONS:
        return "timm", "inception"
    if backbone in (*RESNETS, *MOBILENETS, "vgg16"):
        return ("torchvision" if stem == "conv7x7" else "timm"), "imagenet"
    return ("timm" if backbone.startswith("tu-") else "smp"), None


class Encoder(nn.Module):
    """An encoder of segmentation-models-pytorch as a backbone that returns low-level and last features.

    Layers that the features do not use are kept, because published checkpoints hold them, but they do not train.

    Args:
        name: Name in smp ("efficientnet-b0"; with or without "smp-" before it), or "tu-" and a name in timm
            ("tu-mobilenetv3_small_100").
        output_stride: Output stride: 8, 16 or 32. The encoder's strides beyond it become atrous rates.
        pretrained: The encoder's ImageNet weights are loaded.
        in_channels: Number of channels of the images; see `for_channels` for the ImageNet weights.

    Raises:
        ValueError: The encoder does not exist, cannot be dilated, or has no features at stride 4.
        ConnectionError: The weights cannot be downloaded.
    """

    def __init__(self, name: str, output_stride: int = 16, pretrained: bool = False, in_channels: int = 3) -> None:
        super().__init__()
        from segmentation_models_pytorch.encoders import encoders, get_encoder

        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride}")
        if not name.startswith("tu-") and name.removeprefix("smp-") not in encoders:
            raise ValueError(f"there is no backbone {name!r}{did_you_mean(name, encoders)}")
        weights = (name.startswith("tu-") or "imagenet") if pretrained else None
        settings = {"name": name.removeprefix("smp-"), "depth": 5, "output_stride": output_stride}
        self.in_channels = in_channels
        try:
            self.encoder = get_encoder(**settings, weights=weights)
            if in_channels != 3:
                state = self.encoder.state_dict()
                self.encoder = get_encoder(**settings, weights=None, in_channels=in_channels)
                self.encoder.load_state_dict(for_channels(state, self.encoder.state_dict()))
        except (AssertionError, KeyError, ValueError, TypeError, NotImplementedError) as error:
            reason = str(error.args[0] if error.args else type(error).__name__).partition(", supported encoders")[0]
            raise ValueError(f"backbone {name!r} cannot run at output_stride {output_stride}: {reason}") from error
        except RuntimeError as error:
            raise ValueError(f"backbone {name!r}: {error}") from error
        except OSError as error:
            raise ConnectionError(offline_message(name, error)) from error
        for head in CLASSIFIER_HEADS:
            if hasattr(self.encoder, head[0]):  # several processes would wait for ever for gradients of unused layers
                for part in head:
                    self.encoder.get_submodule(part).requires_grad_(False)
        channels = self.encoder.out_channels
        if len(channels) != 6 or channels[2] == 0:
            raise ValueError(f"backbone {name!r} has no features at stride 4 (channels by stage: {channels})")
        self.low_level_channels = {4: int(channels[2]), 8: int(channels[3])}
        self.out_channels = int(channels[-1])

    def forward(self, images: Tensor) -> tuple[dict[int, Tensor], Tensor]:
        """Map images (B, C, H, W) to low-level features by stride and the last ones (B, C', H/stride, W/stride)."""
        features = self.encoder(images)
        return {4: features[2], 8: features[3]}, features[-1]


def build_backbone(
    name: str,
    output_stride: int,
    *,
    multi_grid: Sequence[int] = (1, 1, 1),
    stem: Stem = "conv7x7",
    stride_unit: StrideUnit = "first",
    low_level_features: LowLevelFeatures = "block",
    relu_after_depthwise: bool = False,
    width_multiplier: float = 1.0,
    batch_norm_eps: float | None = None,
    strided_padding: Padding = "symmetric",
    pretrained: bool | str = False,
    in_channels: int = 3,
) -> Backbone:
    """Build a backbone by its name.

    Args:
        name: One of RESNETS, XCEPTIONS or MOBILENETS; any other name is one of `Encoder`.
        output_stride: Output stride: 8, 16 or 32.
        multi_grid: Unit rates of a ResNet's block4.
        stem: Stem of a ResNet: "conv7x7", "three_conv3x3" or "three_conv3x3_narrow".
        stride_unit: Unit that strides in a ResNet's block: "first" as in torchvision, "last" as in TensorFlow,
            "first_1x1" as in Caffe, "first_dilated" as in segmentation-models-pytorch and torchvision's MobileNetV3.
        low_level_features: Low-level features of a ResNet: "block" or "conv3"; see `ResNet`.
        relu_after_depthwise: A ReLU follows every depthwise convolution of an Xception, not of its last module alone.
        width_multiplier: Factor of the widths of a MobileNetV2, a multiple of 1/8.
        batch_norm_eps: Epsilon of a MobileNet's batch norms; if not given, torchvision's (1e-5 in V2, 1e-3 in V3). The
            TensorFlow release has 1e-3.
        strided_padding: Padding of a MobileNet's strided convolutions: "symmetric" as in torchvision, or "same" as in
            the TensorFlow release.
        pretrained: ImageNet weights are loaded; on the command line, also those of a name in `deeplab weights list`.
        in_channels: Number of channels of the images; on the command line it follows from the data. For another number
            than three, the kernels of pretrained weights' first convolution are repeated.

    Raises:
        ValueError: A setting is invalid, or the backbone does not have it.
    """
    settings: dict[str, Any] = {
        "multi_grid": tuple(multi_grid),
        "stem": stem,
        "low_level_features": low_level_features,
        "relu_after_depthwise": relu_after_depthwise,
        "width_multiplier": width_multiplier,
        "batch_norm_eps": batch_norm_eps,
        "strided_padding": strided_padding,
    }
    common = {"pretrained": asks_for_imagenet(pretrained), "in_channels": in_channels}
    return _build(name, output_stride, stride_unit, _own(name, settings) | common)


def _own(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return those settings that act on a backbone; a ValueError names another that is not at its default."""
    own, defaults = {}, signature(build_backbone).parameters
    for setting, value in settings.items():
        family, names = FAMILIES[setting]
        if name in names:
            own[setting] = value
        elif value != defaults[setting].default:
            raise ValueError(f"{setting} acts on {family} only, not on backbone {name!r}")
    return own


def _build(name: str, output_stride: int, stride_unit: StrideUnit, settings: dict[str, Any]) -> Backbone:
    if name in RESNETS:
        return ResNet(RESNETS[name], output_stride, stride_unit=stride_unit, **settings)
    if name in MOBILENETS:
        return MobileNet(name, output_stride, stride_unit=stride_unit, **settings)
    if stride_unit != "first":
        raise ValueError(f"stride_unit {stride_unit!r} does not exist for backbone {name!r}")
    if name in XCEPTIONS:
        return Xception(XCEPTIONS[name], output_stride, **settings)
    return Encoder(name, output_stride, **settings)
