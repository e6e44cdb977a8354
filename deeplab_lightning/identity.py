"""The evaluation identity: how a number was measured, carried beside every number that is printed or stored."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

Record = dict[str, Any]


@dataclass(frozen=True)
class EvaluationIdentity:
    """All that must agree before two numbers may be compared.

    Args:
        dataset: which data.
        split: the id list.
        labels: where the ground truth comes from and what is left out of it.
        num_images: how many images were scored.
        size_policy: what the network saw of an image, and at which size the prediction was scored.
        output_stride: of the network at evaluation.
        align_corners: grid of the upsampling.
        scales: of the input; probabilities are averaged over them.
        flip: whether every scale was also run mirrored.
        precision: of the network's arithmetic.
        weights: the training step they are of.
        crf: settings of the dense CRF, None without one.
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


def group_records(records: list[Record]) -> list[Record]:
    """Scores {split, metric, value, identity} as one {identity, scores} for each identity."""
    groups: dict[str, Record] = {}
    for record in records:
        group = groups.setdefault(str(record["identity"]), {"identity": record["identity"], "scores": {}})
        group["scores"][record["metric"]] = record["value"]
    return list(groups.values())


def ungroup_records(groups: list[Record]) -> list[Record]:
    """The scores that were grouped."""
    return [
        {"split": group["identity"]["split"], "metric": metric, "value": value, "identity": group["identity"]}
        for group in groups
        for metric, value in group["scores"].items()
    ]
