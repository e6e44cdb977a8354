"""The weights that a training stands on, in words, for plans and reports."""

from deeplab_lightning.ablation.plan import Training

RANDOM = "random weights"


def describe_start(training: Training) -> str:
    """Name the weights that a training starts from.

    Args:
        training: A training of a plan. Its resolved settings count, so a scale that trains from random weights says so.

    Returns:
        A name in `deeplab weights list`, the library that publishes ImageNet weights, "random weights", or another row
        of the table with the start of that row.
    """
    if training.weights is not None:
        return training.weights
    if training.source is not None:
        return f"{training.source.rows[0]}, from {describe_start(training.source)}"
    pretrained = training.resolved.get("model.init_args.pretrained", False)
    if isinstance(pretrained, str):
        return pretrained
    if not pretrained:
        return RANDOM
    from deeplab_lightning.models.encoders import imagenet_publisher  # here because it imports torch

    backbone, stem = (training.resolved.get(f"model.init_args.{name}") for name in ("backbone", "stem"))
    return f"ImageNet weights of {imagenet_publisher(backbone or 'vgg16', stem or 'conv7x7')[0]}"
