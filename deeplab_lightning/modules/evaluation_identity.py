"""How a module measures its scores, as an evaluation identity."""

from typing import TYPE_CHECKING

from deeplab_lightning.crf.settings import NORMALIZATION_WORDS
from deeplab_lightning.identity import EvaluationIdentity
from deeplab_lightning.modules.trainer_data import datamodule_of

if TYPE_CHECKING:
    from deeplab_lightning.modules.base import SegmentationModule


def identity_of(module: "SegmentationModule", split: str) -> EvaluationIdentity:
    """Return how the scores last logged for "val" or "test" were measured."""
    data: dict[str, str] = datamodule_of(module.trainer).identity(split)
    return EvaluationIdentity(
        **data | {"size_policy": module.inference.size_policy(data["size_policy"])},
        num_images=module.scores.num_images,
        output_stride=module.network.output_stride,
        align_corners=module.network.align_corners,
        scales=module.inference.scales,
        flip=module.inference.flip,
        precision=str(module.trainer.precision),
        crf=None if module.crf is None else f"as layers, trained, {NORMALIZATION_WORDS[module.crf.normalization]}",
        weights=f"of step {module.global_step}" if module.trainer.state.fn == "fit" else module.weights_origin,
    )
