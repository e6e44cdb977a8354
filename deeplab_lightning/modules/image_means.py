"""The mean loss of a split's images, and the mean time that the network takes for one."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from deeplab_lightning.losses.cross_entropy import cross_entropy
from deeplab_lightning.metrics import ImageMean
from deeplab_lightning.scores import ScoreName


class ImageMeans(nn.Module):
    """The mean over a split's images of their cross entropy and of the seconds that their logits take."""

    def __init__(self) -> None:
        super().__init__()
        self.loss, self.seconds = ImageMean(), ImageMean()

    @contextmanager
    def timed(self, images: Tensor) -> Iterator[None]:
        """Count the time of the code in this context, in which the logits of images (B, C, H, W) are computed."""
        start = _now(images.device)
        yield
        self.seconds.update((_now(images.device) - start) / len(images), len(images))

    def losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """Count and return the losses (B,) of images, from logits (B, K, H, W) and masks (B, H, W)."""
        images = zip(logits, target, strict=True)
        losses = torch.stack([cross_entropy(own[None], labels[None]) for own, labels in images])
        self.loss.update(losses)
        return losses

    def compute(self, split: str) -> dict[ScoreName, float]:
        """Return both means over all ranks, for the split "val" or "test"."""
        means = {"loss": self.loss, "seconds_per_image": self.seconds}
        return {ScoreName(split, kind): float(mean.compute()) for kind, mean in means.items()}

    def reset(self) -> None:
        """Reset both means."""
        self.loss.reset()
        self.seconds.reset()


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
