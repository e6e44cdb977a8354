"""Segmenting an image of any size by overlapping tiles, blended, in memory that does not grow with its height.

Every tile is cut out with a margin on each side that is only context: the network sees it, and its scores there are
dropped. Neighbours overlap by a further band, the seam, across which one fades into the other. If the margin holds the
network's receptive field, both tiles give the scores of the whole image there, and so does their mixture.

Memory: the decoded image, its label map and its confidences are held whole, 5 bytes a pixel for 8-bit RGB. Scores exist
for one tile, and for the strip in which a row of tiles fades into the next.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from deeplab_lightning.models.build import build_network
from deeplab_lightning.models.profile import profile

GRID = 32
"""Multiple of pixels at which tiles begin: then their feature maps are parts of the whole image's, at output strides up
to 32."""
PROFILED_SIDE = 129
"""Side of the image on which the receptive field is computed; it does not depend on it."""
SEAM = 64
"""Smallest width in pixels of the band in which two neighbours fade into each other."""
SIDE, LARGEST_SIDE = 1024, 2048
"""Smallest and largest side of the tiles that "auto" takes, depending on the receptive field."""
CORE = 512
"""Number of pixels that "auto" keeps of each side of a tile at least, as the rest is computed twice."""
LARGEST_WHOLE = 1536 * 1536
"""Number of pixels up to which "auto" segments an image as a whole."""
SMALLEST_SIDE = 4 * SEAM
"""Side from which tiles are large enough to overlap."""
Tile = int | Literal["auto"] | None
"""Side of the tiles, at least `SMALLEST_SIDE`; "auto" for tiles where the image is large; None for the whole image."""

Span = tuple[int, int]
"""First row or column, and the one after the last."""
ScoresOf = Callable[[Span, Span], Tensor]
"""A function from the rows and columns of a tile to the scores (K, h, w) of its pixels."""


@dataclass(frozen=True)
class Tiling:
    """The sides of tiles and of their overlaps.

    Args:
        side: Side of a tile in pixels.
        margin: Width of the context on each inner side, whose scores are dropped.
        seam: Width of the band in which two neighbours are mixed.
        difference: Sentence on why scores may differ from those of the whole image; None if they are the same.
    """

    side: int
    margin: int
    seam: int
    difference: str | None = None

    @property
    def step(self) -> int:
        """The distance between the beginnings of two neighbours."""
        return self.side - 2 * self.margin - self.seam

    def spans(self, length: int) -> list[Span]:
        """Return the tiles along one side of an image; the last one may be shorter."""
        count = 1 + max(0, math.ceil((length - self.side) / self.step))
        return [(start, min(start + self.side, length)) for start in range(0, count * self.step, self.step)]


def needed_margin(network: str, arguments: dict[str, object]) -> int | None:
    """Return the margin with which tiles give the scores of the whole image; None with image-level features.

    It is half the receptive field, one position of the logits to either side for their upsampling, and one more because
    strided layers are not centred on their pixels.
    """
    with torch.device("meta"):
        built = build_network(network, {**arguments, "pretrained": False})
    field = profile(built, PROFILED_SIDE, PROFILED_SIDE).receptive_field
    return None if field is None else _up(field / 2 + 2 * built.logits_stride)


def plan(
    tile: Tile, size: tuple[int, int], needed: int | None, align_corners: bool, *, scales: Sequence[float] = (1.0,)
) -> Tiling | None:
    """Return the tiling of an image, or None if it is segmented as a whole.

    Args:
        tile: Side of the tiles; "auto" for tiles where the image is large; None for the whole image.
        size: Size (H, W) of the image.
        needed: Margin that the receptive field needs at scale 1; None if nothing suffices.
        align_corners: Whether the network upsamples on the grid of corners, for which sides of 32 k + 1 are exact.
        scales: Scales of the image. In its own pixels, the receptive field is larger at a smaller scale.
    """
    if tile is None or (tile == "auto" and size[0] * size[1] <= LARGEST_WHOLE):
        return None
    needed = None if needed is None else _up(needed / min(scales))
    if tile == "auto":
        tile = min(LARGEST_SIDE, max(SIDE, 2 * (needed or 0) + SEAM + CORE))
    if max(size) <= tile:
        return None
    side = tile // GRID * GRID + align_corners
    margin = min(side // 8 if needed is None else needed, (side - SEAM - side // 4) // 2) // GRID * GRID
    step = (side - 2 * margin - SEAM) // GRID * GRID
    difference = _difference(margin, needed, size, align_corners=align_corners, scales=scales)
    return Tiling(side, margin, side - 2 * margin - step, difference)


def _difference(
    margin: int, needed: int | None, size: tuple[int, int], *, align_corners: bool, scales: Sequence[float]
) -> str | None:
    """Return why scores may differ from those of the whole image."""
    if needed is None:
        cause = "the network's image-level features see one tile and not the whole image"
    elif margin < needed:
        cause = f"the receptive field needs a margin of {needed} pixels"
    elif set(scales) != {1.0}:
        cause = "a scaled tile is not always aligned with the features of the scaled image"
    elif any((length - align_corners) % GRID for length in size):
        cause = f"the sides of the image are no multiples of {GRID}{' plus 1' if align_corners else ''}"
    else:
        return None
    return f"{cause}, so scores may differ from those of the whole image"


def blend(size: tuple[int, int], tiling: Tiling, scores_of: ScoresOf) -> Iterator[tuple[Span, Span, Tensor]]:
    """Compute the scores of an image by tiles; yield rows, columns and scores (K, h, w) of blocks that cover it once.

    What waits for the next row of tiles is a strip (K, seam, W), and for the next tile a strip (K, side, seam).

    Args:
        size: Size (H, W) of the image.
        tiling: Sides of the tiles and their overlaps.
        scores_of: Function that computes the scores of one tile.
    """
    rows, columns = (tiling.spans(length) for length in size)
    above = below = torch.empty(0)
    for row in range(len(rows)):
        left = torch.empty(0)
        for column in range(len(columns)):
            scores = scores_of(rows[row], columns[column])
            (y0, y1), down = _kept(rows, row, tiling)
            (x0, x1), across = _kept(columns, column, tiling)
            top, start = rows[row][0], columns[column][0]
            scores = scores[:, y0 - top : y1 - top, x0 - start : x1 - start]
            scores = scores * (down[:, None] * across).to(scores)
            seam = tiling.seam
            if row:  # the columns that are shared with the tile to the left are in `left` already
                begin = x0 + seam if column else x0
                scores[:, :seam, begin - x0 :] += above[:, :, begin:x1]
            if column:
                scores[:, :, :seam] += left
            if column + 1 < len(columns):
                left, scores, x1 = scores[:, :, -seam:].clone(), scores[:, :, :-seam], x1 - seam
            if row + 1 < len(rows):
                if not column:
                    below = scores.new_empty(len(scores), seam, size[1])
                below[:, :, x0:x1] = scores[:, -seam:]
                scores, y1 = scores[:, :-seam], y1 - seam
            yield (y0, y1), (x0, x1), scores
        above = below


def _kept(spans: list[Span], index: int, tiling: Tiling) -> tuple[Span, Tensor]:
    """Return the part of a tile that is kept along one side, and the weight of each of its pixels."""
    is_first, is_last = index == 0, index + 1 == len(spans)
    start = spans[index][0] + (0 if is_first else tiling.margin)
    end = spans[index][1] - (0 if is_last else tiling.margin)
    weights = torch.ones(end - start)
    ramp = (torch.arange(tiling.seam) + 0.5) / tiling.seam
    if not is_first:
        weights[: tiling.seam] = ramp
    if not is_last:
        weights[-tiling.seam :] = 1 - ramp
    return (start, end), weights


def _up(value: float) -> int:
    return math.ceil(value / GRID) * GRID
