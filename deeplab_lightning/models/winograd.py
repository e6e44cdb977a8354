"""3x3 convolutions with fewer multiplications, for inference on a processor: Winograd's minimal filtering F(2x2, 3x3).

Four outputs of a 3x3 filter take 16 multiplications instead of 36 (Lavin and Gray, "Fast Algorithms for Convolutional
Neural Networks", CVPR 2016, section 4.1). A convolution of rate r is one of rate 1 on every r-th row and column.
"""

import copy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)

SMALLEST_PRODUCT = 256 * 256
"""Input times output channels from which the saved multiplications outweigh the additions."""
TILES_AT_ONCE = 256
"""Tiles of 2x2 outputs whose transforms are in memory together: few enough to stay in the cache."""
LARGEST_SHARE = 0.75
"""Share of the direct convolution's multiplications, tiles beyond the border included, up to which it is faster."""
FILTERS = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))
"""The matrix G, which transforms filters."""


class WinogradConv2d(nn.Conv2d):
    """A 3x3 convolution that runs by F(2x2, 3x3) in inference mode, on a processor and in float32.

    Elsewhere, and where the rate is so large for the map that most tiles lie beyond its border, it is the convolution
    that it stands for, whose parameters it shares. The transformed filters take 16/9 of the filters' memory beside
    them. They are computed at the first use, so the filters must not change afterwards.

    Args:
        conv: A convolution of `suits`.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        rate = conv.dilation[0]
        shape = conv.in_channels, conv.out_channels, 3
        super().__init__(*shape, padding=rate, dilation=rate, bias=False, device="meta")
        self.rate = rate
        self.weight, self.bias = conv.weight, conv.bias
        self._filters: Tensor | None = None

    def direct(self) -> nn.Conv2d:
        """Return torch's convolution with the same parameters."""
        shape = self.in_channels, self.out_channels, 3
        conv = nn.Conv2d(*shape, padding=self.rate, dilation=self.rate, bias=False, device="meta")
        conv.weight, conv.bias = self.weight, self.bias
        return conv

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's own name)
        """Convolve (B, C, h, w)."""
        if not self._is_faster(input):
            return super().forward(input)
        if self._filters is None:
            self._filters = transformed_filters(self.weight)
        output = convolve(input, self._filters, self.rate)
        return output if self.bias is None else output.add_(self.bias[:, None, None])

    def _is_faster(self, features: Tensor) -> bool:
        plain = features.device.type == "cpu" and features.dtype == self.weight.dtype == torch.float32
        if not plain or not torch.is_inference_mode_enabled() or torch.compiler.is_compiling():
            return False
        rows, columns = (_tiles(side, self.rate) for side in features.shape[-2:])
        products = 16 * rows * columns * self.rate**2
        return products <= LARGEST_SHARE * 9 * features.shape[-2] * features.shape[-1]


def use_winograd(network: nn.Module) -> None:
    """Replace every convolution of a network for which it pays; names and values of its tensors stay the same."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Conv2d and suits(child):
                setattr(parent, name, WinogradConv2d(child))


def without_winograd(network: Network) -> Network:
    """Return a network without the replacements of `use_winograd`. It shares the tensors of the given one."""
    tensors = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    direct = copy.deepcopy(network, tensors)
    for parent in list(direct.modules()):
        for name, child in parent.named_children():
            if isinstance(child, WinogradConv2d):
                setattr(parent, name, child.direct())
    return direct


def suits(conv: nn.Conv2d) -> bool:
    """Whether a convolution keeps the size of its maps, is 3x3 and dense, and has enough channels."""
    fixed = conv.kernel_size == (3, 3) and conv.stride == (1, 1) and conv.groups == 1 and conv.padding_mode == "zeros"
    is_square = conv.padding == conv.dilation and conv.dilation[0] == conv.dilation[1]
    return fixed and is_square and conv.in_channels * conv.out_channels >= SMALLEST_PRODUCT


def transformed_filters(weight: Tensor) -> Tensor:
    """Return filters (O, I, 3, 3) as 4x4 matrices (4, 4, I, O): G g G^T of Lavin and Gray."""
    g = torch.tensor(FILTERS, dtype=torch.float64)
    return torch.einsum("ar,oirs,bs->abio", g, weight.double(), g).to(weight.dtype).contiguous()


def convolve(features: Tensor, filters: Tensor, rate: int) -> Tensor:
    """Convolve maps with padding, so that they keep their size.

    Args:
        features: Maps (B, I, h, w).
        filters: Transformed filters (4, 4, I, O).
        rate: Rate of the convolution.

    Returns:
        Maps (B, O, h, w), channels last in memory.
    """
    batch, _, height, width = features.shape
    rows, columns = _tiles(height, rate), _tiles(width, rate)
    below, right = (2 * rows + 1) * rate - height, (2 * columns + 1) * rate - width
    padded = F.pad(features.permute(0, 2, 3, 1), (0, 0, rate, right, rate, below))
    grid = padded.reshape((batch, 2 * rows + 2, rate, 2 * columns + 2, rate, -1))
    output = features.new_empty((batch, rows, 2, rate, columns, 2, rate, filters.shape[-1]))
    band = max(1, TILES_AT_ONCE // (batch * columns * rate**2))
    for first in range(0, rows, band):
        last = min(first + band, rows)
        tiles = _transformed_tiles(grid[:, 2 * first : 2 * last + 2])
        products = torch.bmm(tiles.flatten(2, -2).flatten(0, 1), filters.flatten(0, 1))
        _write_outputs(products.view(*tiles.shape[:-1], -1), output[:, first:last])
    kept = output.flatten(4, 6).flatten(1, 3)[:, :height, :width]
    return kept.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def _tiles(side: int, rate: int) -> int:
    """Return how many tiles of two outputs cover a side at every offset of the rate."""
    return -(-side // (2 * rate))


def _transformed_tiles(grid: Tensor) -> Tensor:
    """Return B^T d B (4, 4, B, rows, r, columns, r, I) of tiles d of a grid (B, 2 rows + 2, r, 2 columns + 2, r, I)."""
    batch, height, rate, width, _, channels = grid.shape
    tiles = grid.new_empty((4, 4, batch, height // 2 - 1, rate, width // 2 - 1, rate, channels))
    a, b, c, d = (grid[:, k : k + height - 3 : 2] for k in range(4))
    for row, own in zip((a - c, b + c, c - b, b - d), tiles, strict=True):
        e, f, g, h = (row[:, :, :, k : k + width - 3 : 2] for k in range(4))
        torch.sub(e, g, out=own[0])
        torch.add(f, g, out=own[1])
        torch.sub(g, f, out=own[2])
        torch.sub(f, h, out=own[3])
    return tiles


def _write_outputs(products: Tensor, output: Tensor) -> None:
    """Write A^T m A of all products m (4, 4, B, rows, r, columns, r, O) into (B, rows, 2, r, columns, 2, r, O)."""
    a, b, c, d = products
    for index, (e, f, g, h) in enumerate(((a + b).add_(c), (b - c).sub_(d))):
        own = output[:, :, index]
        torch.add(e, f, out=own[:, :, :, :, 0]).add_(g)
        torch.sub(f, g, out=own[:, :, :, :, 1]).sub_(h)
