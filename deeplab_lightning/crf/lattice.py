"""The permutohedral lattice (Adams, Baek and Davis, Computer Graphics Forum 2010): Gaussian filtering in linear time.

Letters: B images, N points per image, P = B * N points in total, d features of a point, M lattice points, C channels.
The lattice, its blur and its normalisation are those of Kraehenbuehl and Koltun's densecrf (NIPS 2011), so that equal
settings give equal results.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_lightning.crf.settings import Normalization

LARGEST_KEY = 2**62
"""The largest number that identifies a lattice point; within 63 bits, this leaves room for steps to its neighbours."""
LARGEST_DIM = 20
"""The most features of a point. The lattice's mean error, relative to the spread of the exact means, is about a tenth
for 5 features and more than half for 20; memory and time grow with the square of their number."""
LARGEST_FEATURE = 2.0**16
"""The furthest that a feature may be from 0, so that float32 still places it within 1 % of the Gaussian's range."""
ODD = 0x9E3779B97F4A7C15
"""An odd number of 64 bits whose powers look random: the golden ratio's fraction, as in Knuth's hashing."""


@dataclass(frozen=True)
class PermutohedralLattice:
    """Approximates the sum over j of `exp(-|f_i - f_j|^2 / 2) v_j`, for every point i over the points j of its image.

    Every point lies in a simplex of d + 1 lattice points. Values are splatted onto these lattice points, blurred with
    (1/2, 1, 1/2) along each of the d + 1 axes of the lattice, and sliced back. All three steps are products with sparse
    matrices, computed as embedding bags: they read whole rows of C neighbouring values, and the order of a sum does not
    depend on the other rows, so that a batch gives exactly the results of its images one by one. `build_lattice` makes
    a lattice.

    Args:
        vertices: The lattice points around each point, (P, d + 1) int32.
        weights: The barycentric coordinates of each point, with which values are sliced, (P, d + 1) float32.
        points: The points around each lattice point, those of the first lattice point first, (P * (d + 1),) int32.
        point_weights: The weights of `points`, with which values are splatted, (P * (d + 1),) float32.
        order: The index of each of `points` in the flattened `vertices`, (P * (d + 1),) int32.
        starts: The index in `points` at which each lattice point begins, (M + 1,) int32. The last lattice point is
            a dummy without points and with value 0; it stands for all lattice points that are not in use.
        neighbours: On each axis, every lattice point itself, the next one and the one before, (d + 1, M + 1, 3) int32.
    """

    vertices: Tensor
    weights: Tensor
    points: Tensor
    point_weights: Tensor
    order: Tensor
    starts: Tensor
    neighbours: Tensor

    def filter(self, values: Tensor) -> Tensor:
        """Return the sums (P, C); they are differentiable with respect to the values.

        Args:
            values: Values (P, C) of any float type, the points of the first image first.
        """
        filtered: Tensor = _Filter.apply(values, self)
        return filtered

    def normalized(self, normalization: Normalization, weight: float = 1.0) -> "PermutohedralLattice":
        """Return the lattice with filter `weight D K` ("after") or `weight D^1/2 K D^1/2`, with `D = diag(1 / K 1)`."""
        # D is diagonal over points. On the left of K it scales the values sliced for a point, that is, its row of
        # `weights`. On the right it scales the values that a point splats, that is, its `point_weights`. A normalised
        # kernel therefore needs no additional step.
        scale = weight / (self.sums(self.weights.new_ones(len(self.weights), 1)) + 1e-20)
        if normalization == "after":
            return replace(self, weights=self.weights * scale)
        scale = scale.sqrt()
        own_scale = scale.squeeze(1).index_select(0, self.points)
        return replace(self, weights=self.weights * scale, point_weights=self.point_weights * own_scale)

    @cached_property
    def transposed(self) -> "PermutohedralLattice":
        """The lattice whose filter is the transposed linear map, for gradients.

        The filter is slice @ blur_d @ ... @ blur_0 @ splat. Its transpose splats with the weights of slicing, slices
        with those of splatting, and blurs along the axes in reverse order. Each blur is its own transpose.
        """
        weights = torch.empty_like(self.point_weights).scatter_(0, self.order.long(), self.point_weights)
        return replace(
            self,
            weights=weights.view_as(self.weights),
            point_weights=self.weights.flatten().index_select(0, self.order),
            neighbours=self.neighbours.flip(0),
        )

    def sums(self, values: Tensor) -> Tensor:
        """Splat, blur and slice values (P, C), without support for gradients."""
        table = F.embedding_bag(
            self.points, values, self.starts, mode="sum", per_sample_weights=self.point_weights.to(values.dtype)
        )
        blur = values.new_tensor([1.0, 0.5, 0.5]).repeat(len(table), 1)
        for neighbours in self.neighbours:
            table = F.embedding_bag(neighbours, table, mode="sum", per_sample_weights=blur)
        return F.embedding_bag(self.vertices, table, mode="sum", per_sample_weights=self.weights.to(values.dtype))


class _Filter(torch.autograd.Function):
    """The filter with a gradient: it is linear, so that its backward pass is the transposed filter."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, lattice: PermutohedralLattice) -> Tensor:
        ctx.lattice = lattice
        return lattice.sums(values.contiguous())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.lattice.transposed.filter(gradient), None


def build_lattice(features: Tensor) -> PermutohedralLattice:
    """Build the lattice for the points of a batch of images.

    Args:
        features: Features (B, N, d) float32, each divided by the range of its Gaussian.

    Raises:
        ValueError: There are more than `LARGEST_DIM` features, or one is NaN or beyond `LARGEST_FEATURE`.
    """
    batch_size, _, dim = features.shape
    if dim > LARGEST_DIM:
        raise ValueError(f"a point may have {LARGEST_DIM} features, got {dim}")
    if not (furthest := float(features.abs().amax())) <= LARGEST_FEATURE:
        raise ValueError(f"a feature may be {LARGEST_FEATURE:g} ranges from 0, got {furthest:g}; give larger ranges")
    corner, rank, weights = _enclosing_simplices(features.flatten(0, 1).T)
    # densecrf finds the lattice points that several points share by a hash table, which torch lacks. Here one integer
    # identifies a lattice point, and a sort finds the shared ones. `keys` (d + 1, P) are the integers of the corners of
    # each point's simplex.
    base, strides = _pack(corner, batch_size)
    steps = torch.zeros_like(base).repeat(dim + 1, 1).scatter_(0, rank, strides[:, None].expand_as(rank))
    keys = base + torch.arange(dim + 1, device=base.device)[:, None]
    keys[1:] -= steps.flip(0)[:-1].cumsum(0)  # the r-th corner is one step back along the r axes of the highest ranks
    ordered, order = torch.sort(keys.T.flatten(), stable=True)
    del keys, steps, base, corner, rank  # large tensors, freed before the step that needs the most memory
    is_first = torch.cat([ordered.new_ones(1, dtype=torch.bool), ordered[1:] != ordered[:-1]])
    starts = is_first.nonzero().squeeze(1)
    own_vertex = is_first.cumsum(0, dtype=torch.int32) - 1
    vertices = torch.empty_like(own_vertex).scatter_(0, order, own_vertex)
    # A Gaussian is 1 at 0, but the blur returns 1 + 2^-d of a lattice point's own value: the value itself, and
    # 2^-(d + 1) of it in each of two directions, because a step along each of the d + 1 axes leads back to the start.
    # Splatting and slicing therefore each divide by the square root of 1 + 2^-d.
    weights = weights.T.contiguous() / (1 + 2.0**-dim) ** 0.5
    return PermutohedralLattice(
        vertices=vertices.view(-1, dim + 1),
        weights=weights,
        points=(order // (dim + 1)).int(),
        point_weights=weights.flatten().index_select(0, order),
        order=order.int(),
        starts=torch.cat([starts, starts.new_tensor([len(order)])]).int(),
        neighbours=_neighbours(ordered[starts], strides),
    )


def _enclosing_simplices(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the simplex around each point.

    The lattice lies in the plane of R^(d + 1) where the coordinates sum to 0. A triangular matrix maps the points into
    this plane. It keeps distances up to a scale, which is chosen so that the whole filter has standard deviation 1.

    Args:
        features: Features (d, P).

    Returns:
        The corner of each simplex whose coordinates are all multiples of d + 1, divided by d + 1: (d + 1, P); the rank
        of each coordinate of the difference between point and corner, 0 for the largest: (d + 1, P); and the point's
        barycentric coordinates, that of this corner first: (d + 1, P).
    """
    dim, num_points = features.shape
    elevated = features.new_empty(dim + 1, num_points)
    total = features.new_zeros(num_points)
    for axis in range(dim, 0, -1):
        feature = features[axis - 1] * ((2 / 3) ** 0.5 * (dim + 1) / (axis * (axis + 1)) ** 0.5)
        elevated[axis] = total - axis * feature
        total = total + feature
    elevated[0] = total
    corner = (elevated / (dim + 1)).round_()
    offset = elevated - corner * (dim + 1)
    # Each coordinate was rounded by itself, so that their sum may differ from 0 by some units. The coordinates with the
    # largest rounding error in the wrong direction are moved back by one: those whose rank plus the sum leaves 0..d.
    rank = corner.sum(0).long().repeat(dim + 1, 1)
    for axis in range(dim):
        behind = offset[axis] < offset[axis + 1 :]
        rank[axis] += behind.sum(0)
        rank[axis + 1 :] += ~behind
    wrapped = (rank < 0).long() - (rank > dim).long()
    rank += wrapped * (dim + 1)
    corner += wrapped
    offset = torch.empty_like(elevated).scatter_(0, rank, (elevated - corner * (dim + 1)) / (dim + 1))
    inner = (offset[:-1] - offset[1:]).flip(0)
    return corner, rank, torch.cat([1 + offset[-1:] - offset[:1], inner])


def _pack(corner: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
    """Pack the image and the corner (d + 1, P) of each point into one integer; return it and the coordinates' strides.

    The last coordinate follows from the others and has stride 0. All coordinates of a lattice point have the same
    remainder modulo d + 1, which is the last digit; for these corners it is 0. The spans leave room for the neighbours.
    """
    dim = len(corner) - 1
    lowest, highest = corner[:-1].amin(1), corner[:-1].amax(1)
    spans = (highest - lowest + 4).long().tolist()  # two more at either end, for the other corners and neighbours
    strides = [_digit_base(dim)]
    for span in reversed(spans):
        strides.insert(0, strides[0] * span)
    if strides[0] * batch_size > LARGEST_KEY:
        # Too many places to number. Strides that look random make the integer a hash, of which equal lattice points
        # still have equal values and neighbours constant differences, as sums of 64 bits wrap. Two of a million lattice
        # points share a value with a probability of about 1e-6, and are then taken for one.
        strides = [_signed(_digit_base(dim) * ODD**power) for power in range(dim, -1, -1)]
    per_axis = torch.tensor([*strides[1:], 0], device=corner.device)
    image = torch.arange(batch_size, device=corner.device).repeat_interleave(corner.shape[1] // batch_size)
    packed = image * strides[0]
    for axis in range(dim):
        packed += (corner[axis] - (lowest[axis] - 2)).long() * strides[axis + 1]
    return packed, per_axis


def _digit_base(dim: int) -> int:
    """Return the base of the last digit of keys: the power of 2 that holds 0..d, which survives a wrap of 64 bits."""
    return 1 << dim.bit_length()


def _signed(number: int) -> int:
    """Return the 64-bit two's complement number with the same lowest 64 bits."""
    return (number + 2**63) % 2**64 - 2**63


def _neighbours(keys: Tensor, strides: Tensor) -> Tensor:
    """Return the indices (d + 1, M + 1, 3) of M ascending keys and of their neighbours; M stands for no neighbour.

    The next lattice point on axis j has all coordinates smaller by 1 except for the j-th, which is larger by d. If that
    point is in use, its previous point is the one from which the step started. A single search therefore finds both.
    """
    num_axes, num_keys = len(strides), len(keys)
    own = torch.arange(num_keys, device=keys.device, dtype=torch.int32)
    neighbours = own.new_full((num_axes, num_keys + 1, 3), num_keys)
    neighbours[:, :-1, 0] = own
    # A key holds the coordinates divided by d + 1, and their common remainder as the last digit. Lowering all
    # coordinates by 1 lowers this digit by 1; if it is 0, it becomes d and the digit of each coordinate falls by 1. The
    # j-th coordinate rises by d instead of falling by 1, a difference of d + 1, so that its digit rises by 1.
    step = torch.where(keys % _digit_base(num_axes - 1) > 0, -1, num_axes - 1 - strides.sum())
    for axis, stride in enumerate(strides):
        wanted = keys + (step + stride)
        place = torch.searchsorted(keys, wanted).clamp_(max=num_keys - 1)
        place = place.where(keys.index_select(0, place) == wanted, num_keys)
        neighbours[axis, :-1, 1] = place
        neighbours[axis, :, 2].scatter_(0, place, own)
    neighbours[:, -1] = num_keys
    return neighbours


def gaussian_sums(features: Tensor, values: Tensor) -> Tensor:
    """Return the exact sums that the lattice approximates, in O(N^2); a reference for small images.

    Args:
        features: Features (B, N, d), each divided by the range of its Gaussian.
        values: Values (B * N, C).

    Returns:
        The sums (B * N, C).
    """
    distances = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    return (torch.exp(-distances.square() / 2) @ values.view(*features.shape[:2], -1)).flatten(0, 1)
