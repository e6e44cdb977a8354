"""The evaluation identity: how a number was measured, carried beside every number that is printed or stored."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

Record = dict[str, Any]


@dataclass(frozen=True)
class EvaluationIdentity:
    """The properties of a measurement that must agree before two numbers may be compared.

    Args:
        dataset: Name of the data set.
        split: Name of the list of ids.
        labels: Source of the ground truth, and what is left out of it.
        num_images: Number of images that were scored.
        size_policy: What the network saw of an image, and at which size the prediction was scored.
        output_stride: Output stride of the network at evaluation.
        align_corners: Grid of the upsampling.
        scales: Scales of the input; probabilities are averaged over them.
        flip: Whether every scale was also run mirrored.
        precision: Precision of the network's arithmetic.
        weights: The training step that the weights are of.
        crf: Settings of the dense CRF; None without one.
    """

    dataset: str
    split: str
    labels: str
    num_images: int
    size_policy: str
    output_stride: int
    align_corners: bool
    scales: Sequence[float]
    flip: bool
    precision: str
    weights: str
    crf: str | None = None

    def as_dict(self) -> Record:
        """Plain values, ready for JSON."""
        return asdict(self) | {"scales": list(self.scales)}

    def refined(self, crf: str) -> Self:
        """The identity of predictions that a CRF refined further, with its settings in words behind what was there."""
        return replace(self, crf=f"{self.crf}, then {crf}" if self.crf else crf)

    def __str__(self) -> str:
        return describe_identity(self.as_dict())


def describe_identity(identity: Record) -> str:
    """One line of an identity that was read back from JSON."""
    scales = ", ".join(f"{scale:g}" for scale in identity["scales"])
    flip = "with flip" if identity["flip"] else "no flip"
    crf = f"CRF ({identity['crf']})" if identity["crf"] else "no CRF"
    return (
        f"{identity['dataset']} {identity['split']}, {identity['num_images']} images, {identity['labels']}; "
        f"{identity['size_policy']}; output_stride {identity['output_stride']}, "
        f"align_corners {str(identity['align_corners']).lower()}, scales {scales}, {flip}, {identity['precision']}; "
        f"{crf}; weights {identity['weights']}"
    )
