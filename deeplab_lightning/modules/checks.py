"""Checks of a module's settings against each other when the module is built."""

from collections.abc import Sequence

from deeplab_lightning.crf.settings import Normalization


def check_lengths(num_classes: int, **settings: Sequence[object] | None) -> None:
    """Refuse settings that should hold one value per class and hold another number.

    Args:
        num_classes: Number of classes.
        settings: Values of each setting by its name; None if it is not set.

    Raises:
        ValueError: A setting has another number of values than there are classes.
    """
    for name, values in settings.items():
        if values is not None and len(values) != num_classes:
            raise ValueError(f"num_classes is {num_classes}, but there are {len(values)} {name}")


def check_above_zero(**settings: float | None) -> None:
    """Refuse numbers that are not above 0.

    Args:
        settings: The number of each setting by its name; None if it is not set.

    Raises:
        ValueError: A number is 0 or below.
    """
    for name, value in settings.items():
        if value is not None and not value > 0:
            raise ValueError(f"{name} must be above 0, got {value}")


def check_not_negative(**settings: float) -> None:
    """Refuse negative numbers.

    Args:
        settings: The number of each setting by its name.

    Raises:
        ValueError: A number is below 0.
    """
    for name, value in settings.items():
        if not value >= 0:
            raise ValueError(f"{name} must be at least 0, got {value}")


def check_crf(crf_rnn: bool, crf_normalization: Normalization, upsample_logits: bool) -> None:
    """Refuse a CRF-RNN that cannot run, and a setting of the CRF-RNN without one.

    The arguments are those of `SegmentationModule`.

    Raises:
        ValueError: A setting is invalid or has no effect.
    """
    if crf_rnn and not upsample_logits:
        raise ValueError("crf_rnn refines logits at the images' size; set upsample_logits to true")
    if not crf_rnn and crf_normalization != "after":
        raise ValueError(f"crf_normalization {crf_normalization!r} has no effect without crf_rnn; set crf_rnn to true")
