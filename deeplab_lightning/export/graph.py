"""A network with its pre- and postprocessing as one module, from which graphs are exported."""

import numpy as np
import torch
from torch import Tensor, nn

from deeplab_lightning.datasets.pixels import Pixels
from deeplab_lightning.models.layers import upsample
from deeplab_lightning.segmentation.graph_file import COARSE, Interface
from deeplab_lightning.segmentation.pictures import EIGHT_BIT, affine, normalize
from deeplab_lightning.segmentation.segmenter import Segmenter

EXAMPLE = (2, 129, 161)
"""Batch and sides (B, H, W) of the images with which a network is traced; any sizes give the same graph."""
INPUT = "images"
DYNAMIC = {"batch": 0, "height": 1, "width": 2}
"""Dimensions of pixels (B, H, W, C) that a graph leaves open."""


class ExportedNetwork(nn.Module):
    """A segmenter's network with the normalisation before it and the softmax or argmax after it, as asked for.

    Args:
        segmenter: The model.
        interface: Inputs and outputs.

    Attributes:
        output_names: Names of the outputs.

    Raises:
        ValueError: The model has a CRF as layers, whose lattice depends on the image's colours.
    """

    factor: Tensor
    offset: Tensor

    def __init__(self, segmenter: Segmenter, interface: Interface) -> None:
        super().__init__()
        if segmenter.layers is not None:
            raise ValueError(
                "its CRF is trained as layers (model.crf_rnn), whose lattice depends on the colours of each image and "
                "cannot become a graph; `deeplab segment` runs it from the checkpoint"
            )
        self.network, self.interface = segmenter.network, interface
        self.reader, self.pad_to = segmenter.reader, segmenter.description.pad_to
        self.normalization = segmenter.description.normalization
        factor, offset = affine(self.normalization, self.normalization.value_range)
        self.register_buffer("factor", factor[:, None, None])
        self.register_buffer("offset", offset[:, None, None])
        self.is_eight_bit = self.normalization.value_range == EIGHT_BIT
        self.output_names = [
            interface.outputs,
            *([COARSE] if interface.outputs == "logits" and self._is_coarse() else []),
        ]

    def _is_coarse(self) -> bool:
        """Whether the network upsamples its logits: v1's MSc and smp's networks compute those of every pixel."""
        with torch.no_grad():
            images = torch.zeros(1, self.normalization.num_channels, 33, 33)
            coarse: Tensor = self.network.forward_coarse(images)
        return coarse.shape[-1] != images.shape[-1]

    def normalized(self, pixels: Tensor) -> Tensor:
        """Map pixels (B, H, W, C) to the network's images (B, C, H, W)."""
        images = pixels.permute(0, 3, 1, 2).float()
        if self.normalization.channel_order == "reversed":
            images = images.flip(1)
        return images * self.factor + self.offset

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map images (B, C, H, W), or pixels (B, H, W, C), to the outputs of `output_names`."""
        if self.interface.inputs == "pixels":
            images = self.normalized(images)
        coarse = self.network.forward_coarse(images)
        logits = upsample(coarse, images.shape[-2:], self.network.align_corners)
        if self.interface.outputs == "logits":
            return (logits, coarse)[: len(self.output_names)]
        return (logits.softmax(1) if self.interface.outputs == "probabilities" else logits.argmax(1).to(torch.uint8),)

    def example(self, batch: int = EXAMPLE[0], height: int = EXAMPLE[1], width: int = EXAMPLE[2]) -> Tensor:
        """Return a batch of inputs of a size."""
        shares = blurred_noise((batch, self.normalization.num_channels, height, width))
        low, high = self.normalization.value_range
        pixels = (low + (high - low) * shares).permute(0, 2, 3, 1)
        pixels = pixels.round().to(torch.uint8) if self.is_eight_bit else pixels
        return pixels if self.interface.inputs == "pixels" else self.normalized(pixels)

    def inputs_of(self, pixels: Pixels) -> Tensor:
        """Return the pixels (H, W, C) of one image as a batch of inputs, padded as the model's images are."""
        if self.interface.inputs == "normalized":
            return normalize(pixels, self.reader, self.pad_to)[None]
        values = torch.from_numpy(np.array(pixels))[None]
        if self.is_eight_bit or pixels.dtype != np.uint8:
            return values
        low, high = self.normalization.value_range
        return low + (high - low) / EIGHT_BIT[1] * values

    def open_dimensions(self) -> dict[int, str]:
        """The dimensions that the graph leaves open, with their names."""
        last = self.interface.inputs == "pixels"
        return {(each if last or not each else each + 1): name for name, each in DYNAMIC.items()}


def blurred_noise(shape: tuple[int, int, int, int]) -> Tensor:
    """Return images (B, C, H, W) in 0..1 with borders between regions, the same at every call."""
    generator = torch.Generator().manual_seed(shape[-2] * shape[-1])
    coarse = torch.rand(*shape[:2], 9, 9, generator=generator)
    smooth = nn.functional.interpolate(coarse, shape[-2:], mode="bicubic").clamp(0, 1)
    return 0.8 * smooth + 0.2 * torch.rand(shape, generator=generator)
