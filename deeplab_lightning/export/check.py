"""Comparing an exported graph with its network, at sizes and batches that it was not traced with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deeplab_lightning.export.graph import ExportedNetwork

SIZES = ((1, 49, 1000), (3, 64, 101), (1, 225, 193))
"""Batches and sides (B, H, W) of the comparison: odd, even, wide, high, and none as at the export. In a width of 1000,
LR-ASPP's window of 25 positions at stride 32 has more than one place."""
TOLERANCE = 1e-3
"""Largest difference, as a share of the range of the network's values. Two orders of summing up float32 differ by 1e-6
to 1e-4 of the range, and by up to 1e-3 through a hundred layers."""
EQUAL = 0.9999
"""Smallest share of the pixels with the network's label."""
TIE = 1e-4
"""Difference of the two best values, as a share of the range, below which a pixel is a tie: either label is right."""


class ExportError(ValueError):
    """A graph that does not do what its network does."""


@dataclass(frozen=True)
class Agreement:
    """The agreement of a graph with its network.

    Args:
        difference: Largest absolute difference of an output.
        value_range: Range of the network's values; 0 if only labels were compared.
        num_pixels: Number of pixels compared.
        num_equal: Number of pixels with the same label, or a tie.
        num_ties: Number of ties with another label.
    """

    difference: float
    value_range: float
    num_pixels: int
    num_equal: int
    num_ties: int = 0

    @property
    def relative(self) -> float:
        """The largest difference as a share of the range."""
        return self.difference / self.value_range if self.value_range else self.difference

    @property
    def equal(self) -> float:
        """The share of the pixels with the same label."""
        return self.num_equal / self.num_pixels

    def __str__(self) -> str:
        ties = f", {self.num_ties} ties" if self.num_ties else ""
        labels = f"equal labels {100 * self.equal:.3f} % of {self.num_pixels} pixels{ties}"
        if not self.value_range:
            return labels
        return f"largest difference {self.difference:.1e}, {self.relative:.1e} of the range; {labels}"


def compare(
    network: ExportedNetwork,
    run: Callable[[Tensor], Tensor],
    batches: Sequence[Tensor] | None = None,
    tie: float = TIE,
) -> Agreement:
    """Compare a graph's first output with that of the network.

    Args:
        network: The network as it was exported.
        run: Function that runs the graph.
        batches: Inputs; batches of `SIZES` if not given.
        tie: Difference of the two best values, as a share of the range, below which either label is right.
    """
    parts = [_compared(network, run, batch, tie) for batch in batches or [network.example(*size) for size in SIZES]]
    return Agreement(
        difference=max(part.difference for part in parts),
        value_range=max(part.value_range for part in parts),
        num_pixels=sum(part.num_pixels for part in parts),
        num_equal=sum(part.num_equal for part in parts),
        num_ties=sum(part.num_ties for part in parts),
    )


@torch.no_grad()
def _compared(network: ExportedNetwork, run: Callable[[Tensor], Tensor], batch: Tensor, tie: float) -> Agreement:
    found, expected = run(batch), network(batch)[0]
    if found.shape != expected.shape:
        raise ExportError(f"the graph gives {tuple(found.shape)} in place of {tuple(expected.shape)}")
    if network.interface.outputs == "labels":
        equal = found == expected
        return Agreement(0.0, 0.0, num_pixels=equal.numel(), num_equal=int(equal.sum()))
    if not found.isfinite().all():
        raise ExportError("the graph gives values that are not finite")
    value_range = float(expected.max() - expected.min())
    label = found.argmax(1, keepdim=True)
    equal = label[:, 0] == expected.argmax(1)
    is_tie = (expected.amax(1) - expected.gather(1, label)[:, 0] < tie * value_range) & ~equal
    return Agreement(
        difference=float((found - expected).abs().max()),
        value_range=value_range,
        num_pixels=equal.numel(),
        num_equal=int((equal | is_tie).sum()),
        num_ties=int(is_tie.sum()),
    )


def demand(agreement: Agreement, tolerance: float = TOLERANCE, equal: float = EQUAL) -> Agreement:
    """Return an agreement that is good enough.

    Raises:
        ExportError: The difference is too large, or too many labels differ.
    """
    if not (agreement.relative <= tolerance and agreement.equal >= equal):
        raise ExportError(
            f"the graph differs from the network, so it is not kept: {agreement}; at most {tolerance:g} of the range "
            f"and at least {100 * equal:g} % are allowed"
        )
    return agreement
