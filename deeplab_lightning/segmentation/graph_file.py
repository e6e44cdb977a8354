"""What an exported graph says of itself: its description, its inputs and outputs, as texts beside the weights."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

from deeplab_lightning import __version__
from deeplab_lightning.description import DESCRIPTION, ModelDescription
from deeplab_lightning.identity import describe_identity
from deeplab_lightning.models.layers import SegmentationNetwork
from deeplab_lightning.scores import Score

Inputs = Literal["normalized", "pixels"]
"""Images (B, C, H, W) that are normalised, or pixels (B, H, W, C) as stored, which the graph normalises."""
Outputs = Literal["logits", "probabilities", "labels"]
"""Logits or probabilities (B, K, H, W), or the class index of each pixel (B, H, W), uint8."""
COARSE = "coarse_logits"
"""The output with the logits (B, K, h, w) on the grid from which the graph upsamples them."""


@dataclass(frozen=True)
class Interface:
    """The inputs and outputs of a graph.

    Args:
        inputs: "normalized" for images (B, C, H, W) as the network takes them, "pixels" for (B, H, W, C) as stored.
        outputs: "logits", "probabilities" or "labels".

    Raises:
        ValueError: There is no such input or output.
    """

    inputs: Inputs = "normalized"
    outputs: Outputs = "logits"

    def __post_init__(self) -> None:
        for name, value, known in (("inputs", self.inputs, Inputs), ("outputs", self.outputs, Outputs)):
            if value not in get_args(known):
                raise ValueError(f"{name} must be one of {', '.join(get_args(known))}, got {value!r}")


@dataclass(frozen=True)
class GraphFile:
    """The facts in a file beside its graph.

    Args:
        description: Description of the model.
        interface: Inputs and outputs of the graph.
        output_stride: Output stride of the network.
        logits_stride: Pixels between two positions of the coarse logits.
        align_corners: Grid of the upsampling.
        precision: Precision of the weights: "float32", "half" or "int8".
    """

    description: ModelDescription
    interface: Interface
    output_stride: int
    logits_stride: int
    align_corners: bool
    precision: str = "float32"

    @classmethod
    def of(cls, network: SegmentationNetwork, description: ModelDescription, interface: Interface) -> Self:
        """Return the facts about a network."""
        strides = network.output_stride, network.logits_stride
        return cls(description, interface, *strides, network.align_corners)

    def as_texts(self) -> dict[str, str]:
        """Return the facts as texts by name, those that other programs need each under a name of its own."""
        plain = self.description.as_dict()
        values: dict[str, Any] = {
            DESCRIPTION: plain,
            "class_names": plain["palette"]["class_names"],
            "palette": plain["palette"]["colors"],
            "normalization": plain["normalization"],
            **_measured(self.description.score),
            **asdict(self.interface),
            "output_stride": self.output_stride,
            "logits_stride": self.logits_stride,
            "align_corners": self.align_corners,
            "precision": self.precision,
            "program": f"deeplab_lightning {__version__}",
        }
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}

    @classmethod
    def of_texts(cls, texts: Mapping[str, str]) -> Self:
        """Return the facts in texts by name.

        Raises:
            ValueError: They are not those of `deeplab export`.
        """
        if DESCRIPTION not in texts:
            raise ValueError("it has no description, as a file of `deeplab export` has")
        try:
            return cls(
                description=ModelDescription.of_dict(json.loads(texts[DESCRIPTION])),
                interface=Interface(texts["inputs"], texts["outputs"]),  # type: ignore[arg-type]  # it checks them
                output_stride=int(texts["output_stride"]),
                logits_stride=int(texts["logits_stride"]),
                align_corners=bool(json.loads(texts["align_corners"])),
                precision=texts["precision"],
            )
        except (KeyError, ValueError) as error:
            raise ValueError(f"its description cannot be used: {error}") from error


def _measured(score: Score | None) -> dict[str, str]:
    """The score of the weights with its way of measurement, in words."""
    if score is None:
        return {}
    return {"score": f"{score.name} {score.value:.4f}", "identity": describe_identity(score.identity)}
