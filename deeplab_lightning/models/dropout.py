"""Dropout whose mask belongs to an image's place in the batch of all processes, and not to the process."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn


class SampleDropout(nn.Dropout):
    """Dropout that draws the mask of each image from a seed of the image's own, once `seed` has been called.

    One process and several then draw the same masks for the same images. Without seeds it is torch's dropout.
    """

    _key: tuple[int, ...] | None = None

    def seed(self, key: tuple[int, ...], places: Sequence[int]) -> None:
        """Seed the masks of the next batch.

        Args:
            key: Numbers that all images of the batch share, none negative.
            places: The place of each image in the batch of all processes.
        """
        self._key, self._places, self._calls = key, places, 0

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's own name)
        """Drop values of (B, C, h, w), and scale the others so that their mean stays."""
        if not self.training or self.p == 0 or self._key is None or len(input) != len(self._places):
            return super().forward(input)
        generator = torch.Generator(input.device)
        kept = torch.empty(input.shape, dtype=input.dtype, device=input.device)
        for image, place in zip(kept, self._places, strict=True):
            seed = np.random.SeedSequence((*self._key, self._calls, place)).generate_state(1, np.uint64)
            image.bernoulli_(1 - self.p, generator=generator.manual_seed(int(seed[0] >> 1)))
        self._calls += 1
        return input * kept.div_(1 - self.p)
