"""Checks of a module's settings against each other, as the module is built."""

from collections.abc import Sequence

from deeplab_lightning.crf.settings import Normalization


def check_lengths(num_classes: int, **settings: Sequence[object] | None) -> None:
    """Refuse settings that hold one value a class where their number is another.

    Args:
        num_classes: Number of classes.
        settings: The values by the name of the setting; None where it is not set.

    Raises:
        ValueError: The numbers differ.
    """
    for name, values in settings.items():
        if values is not None and len(values) != num_classes:
            raise ValueError(f"num_classes is {num_classes}, but there are {len(values)} {name}")


def check_evaluation(
    scales: Sequence[float], crf_rnn: bool, crf_normalization: Normalization, upsample_logits: bool
) -> None:
    """Refuse scales that cannot be, and a CRF as layers that cannot run or a setting of it that would do nothing.

    The arguments are those of `SegmentationModule`.

    Raises:
        ValueError: A setting cannot work.
    """
    if not scales or min(scales) <= 0:
        raise ValueError(f"scales must hold at least one scale, all above 0, got {tuple(scales)}")
    if crf_rnn and not upsample_logits:
        raise ValueError("crf_rnn refines logits at the images' size; set upsample_logits to true")
    if not crf_rnn and crf_normalization != "after":
        raise ValueError(f"crf_normalization {crf_normalization!r} does nothing without crf_rnn; set that to true")
