"""The evaluation identity: how a number was measured, recorded with every number that is printed or stored."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

Record = dict[str, Any]


@dataclass(frozen=True)
class EvaluationIdentity:
    """The properties of a measurement that must agree before two numbers may be compared.

    Args:
        dataset: Name of the data set.
        split: Name of the list of image ids.
        labels: Source of the ground truth, and the labels left out of it.
        num_images: Number of images that were scored.
        size_policy: Size at which the network saw an image, or its sliding windows, and that of the scored prediction.
        output_stride: Output stride of the network at evaluation.
        align_corners: Grid of the upsampling.
        scales: Scales of the input; probabilities are averaged over them.
        flip: Every scale also ran on the mirrored image.
        precision: Precision of the network's arithmetic.
        weights: Training step of the weights.
        crf: Settings of the dense CRF; None without a CRF.
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
        """Return the properties as plain values, ready for JSON."""
        return asdict(self) | {"scales": list(self.scales)}

    def refined(self, crf: str) -> Self:
        """Return the identity after refinement by a CRF, whose settings in words follow those of an earlier CRF."""
        return replace(self, crf=f"{self.crf}, then {crf}" if self.crf else crf)

    def __str__(self) -> str:
        return describe_identity(self.as_dict())


def describe_identity(identity: Record) -> str:
    """Describe an identity that was read from JSON in one line."""
    scales = ", ".join(f"{scale:g}" for scale in identity["scales"])
    flip = "with flip" if identity["flip"] else "no flip"
    crf = f"CRF ({identity['crf']})" if identity["crf"] else "no CRF"
    return (
        f"{identity['dataset']} {identity['split']}, {identity['num_images']} images, {identity['labels']}; "
        f"{identity['size_policy']}; output_stride {identity['output_stride']}, "
        f"align_corners {str(identity['align_corners']).lower()}, scales {scales}, {flip}, {identity['precision']}; "
        f"{crf}; weights {identity['weights']}"
    )
