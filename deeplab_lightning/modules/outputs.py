"""The results of the steps of a module, which its callbacks read."""

from typing import NotRequired, TypedDict

from torch import Tensor

from deeplab_lightning.crf.refinement import RefinedImage


class Prediction(TypedDict):
    """The result of a prediction step: logits (B, K, H, W) at the images' size and, with a CRF, their refinement."""

    logits: Tensor
    refinement: NotRequired[list[RefinedImage]]


class Outputs(Prediction):
    """The result of an evaluation step: that of a prediction step and the loss.

    A module with a step of its own returns `{"loss": loss, **self.prediction(logits, batch)}`.
    """

    loss: Tensor
