"""The description that a module writes into its checkpoints: the network, the classes, the pixels and the score."""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import ModelCheckpoint

from deeplab_lightning.description import DESCRIPTION, ModelDescription, PixelNormalization
from deeplab_lightning.modules.trainer_data import find_datamodule
from deeplab_lightning.scores import Score, ScoreName

if TYPE_CHECKING:
    from deeplab_lightning.modules.base import SegmentationModule


def describe_module(module: "SegmentationModule") -> dict[str, Any]:
    """Return the description of a module and its data as an entry of a checkpoint.

    There is no entry without a datamodule, which alone knows the pixels and the colours.
    """
    data = None
    with suppress(RuntimeError):  # a module without a trainer raises
        data = find_datamodule(module.trainer)
    if data is None:
        return {}
    transform = data.eval_transform
    description = ModelDescription(
        network=type(module.network).__name__,
        arguments={"num_classes": module.network.num_classes, **module.network_arguments, "pretrained": False},
        palette=data.palette,
        normalization=PixelNormalization(
            tuple(transform.mean.tolist()),
            tuple(transform.std.tolist()),
            value_range=transform.value_range,
            channel_order="reversed" if transform.bgr else "stored",
        ),
        pad_to=transform.pad_to,
        crf_layers=None if module.crf is None else module.crf.normalization,
        score=_score(module),
    )
    return {DESCRIPTION: description.as_dict()}


def _score(module: "SegmentationModule") -> Score | None:
    """Return the monitored score if it was measured with the present weights."""
    trainer, (step, crf) = module.trainer, module.scored
    monitor = trainer.checkpoint_callback.monitor if isinstance(trainer.checkpoint_callback, ModelCheckpoint) else None
    if monitor not in trainer.callback_metrics or step != trainer.global_step:
        return None
    try:
        name = ScoreName.parse(str(monitor))
    except ValueError:  # a user's own score, without a split
        return None
    if name.split != "val":
        return None
    identity = module.evaluation_identity(name.split)
    if name.refined and crf:
        identity = identity.refined(crf)
    return Score(name, float(trainer.callback_metrics[str(monitor)]), identity.as_dict())
