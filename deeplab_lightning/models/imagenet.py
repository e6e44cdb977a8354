"""ImageNet weights published by torchvision and timm, as state dictionaries for the backbones of this package."""

from collections.abc import Mapping, Sequence

from torch import Tensor


def imagenet_state_dict(name: str) -> dict[str, Tensor]:
    """Load ImageNet weights from the cache or by a download, without the last linear layer of ResNets and Xceptions.

    Args:
        name: Name in torchvision ("resnet50", weights IMAGENET1K_V1), or "timm/" and a name in timm: "timm/resnet101s"
            (with a stem of three 3x3), "timm/xception65.tf_in1k" (from the TensorFlow release).

    Raises:
        ValueError: No weights are published under this name.
        ConnectionError: The weights cannot be downloaded and are not in the cache.
    """
    try:
        state = (
            timm_state_dict(name.removeprefix("timm/")) if name.startswith("timm/") else torchvision_state_dict(name)
        )
    except (OSError, RuntimeError) as error:  # URLError is an OSError; the Hugging Face hub raises subclasses of both
        raise ConnectionError(offline_message(name, error)) from error
    return {key: value for key, value in state.items() if not key.startswith(("fc.", "head."))}


def for_channels(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fit weights for RGB to a network of images with another number of channels, in its first convolution.

    With three channels or more, channel c takes the kernels of channel c mod 3 of RGB, divided by the number of
    channels that take the same ones. With fewer, each channel takes the mean of the three kernels, times three, divided
    by the number of channels. So a grey image, repeated in every channel, has the same features as in RGB.

    Args:
        state: Weights by name.
        own: Weights of the network, whose shapes are taken.
    """
    return {key: _for_channels(value, own[key].shape) if key in own else value for key, value in state.items()}


def _for_channels(kernels: Tensor, shape: Sequence[int]) -> Tensor:
    """Fit kernels (C', 3, k, k) to a shape (C', C, k, k); tensors of other shapes are returned unchanged."""
    if kernels.ndim != 4 or kernels.shape[1] != 3 or kernels.shape == tuple(shape):
        return kernels
    if (shape[0], 3, *shape[2:]) != kernels.shape:
        return kernels
    num_channels = shape[1]
    if num_channels < 3:
        return kernels.sum(1, keepdim=True).repeat(1, num_channels, 1, 1) / num_channels
    sources = [channel % 3 for channel in range(num_channels)]
    shares = kernels.new_tensor([sources.count(source) for source in sources])
    return kernels[:, sources] / shares[:, None, None]


def asks_for_imagenet(pretrained: bool | str) -> bool:
    """Return whether a setting `pretrained` asks for ImageNet weights.

    Raises:
        ValueError: The setting is a name of published weights, which a module loads into its finished network.
    """
    if isinstance(pretrained, str):
        raise ValueError(f"pretrained {pretrained!r}: only a module of deeplab_lightning.modules loads weights by name")
    return pretrained


def offline_message(name: str, error: Exception) -> str:
    """Return the error message for weights that cannot be downloaded.

    Args:
        name: Name of the network.
        error: Error that the download raised.
    """
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return (
        f"the ImageNet weights of {name} cannot be downloaded ({reason}); "
        "set pretrained to false to start from random weights, or run once with a network to fill the cache"
    )


def torchvision_state_dict(name: str) -> dict[str, Tensor]:
    """Load all tensors of a network of torchvision by its name."""
    from torchvision.models import get_model_weights

    state: dict[str, Tensor] = get_model_weights(name)["IMAGENET1K_V1"].get_state_dict(progress=True, check_hash=True)
    return state


def timm_state_dict(name: str) -> dict[str, Tensor]:
    """Load all tensors of a network of timm by its name.

    Raises:
        ValueError: timm publishes no weights for the network.
    """
    import timm

    if not timm.is_model_pretrained(name):
        raise ValueError(f"timm publishes no ImageNet weights for {name}")
    state: dict[str, Tensor] = timm.create_model(name, pretrained=True).state_dict()
    return state
