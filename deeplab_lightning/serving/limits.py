"""The limits of a request: the size of its file, the pixels of its picture before it is decoded, and its time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from deeplab_lightning.datasets.images import DataError, size_of
from deeplab_lightning.datasets.tiff import is_tiff, num_pixels


@dataclass(frozen=True)
class Limits:
    """The limits of what a visitor may ask for.

    Args:
        megabytes: Largest size of a file in MB.
        megapixels: Largest number of pixels of a picture in millions.
        seconds: Longest time of one segmentation by all models.
        waiting: Number of requests that wait while one is computed.

    Raises:
        ValueError: A limit is not above 0.
    """

    megabytes: float = 20
    megapixels: float = 50
    seconds: float = 120
    waiting: int = 8

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} must be above 0, got {value:g}")

    @property
    def num_bytes(self) -> int:
        """The largest size of a file in bytes."""
        return int(self.megabytes * 1e6)

    def check_file(self, path: Path) -> None:
        """Refuse a file that is too large, from its size and its header.

        Raises:
            DataError: The file is missing, too large, or no image, or its picture has too many pixels.
        """
        if not path.is_file():
            raise DataError(
                "it is not on the server any more, which keeps pictures for some minutes; drop it again", path
            )
        if path.stat().st_size > self.num_bytes:
            raise DataError(
                f"it has {path.stat().st_size / 1e6:.1f} MB, but at most {self.megabytes:g} are accepted", path
            )
        pixels = num_pixels(path) if is_tiff(path) else _num_pixels(path)
        if pixels > self.megapixels * 1e6:
            raise DataError(
                f"it has {pixels / 1e6:.1f} million pixels, but at most {self.megapixels:g} are accepted", path
            )

    def __str__(self) -> str:
        return (
            f"Files of at most {self.megabytes:g} MB and {self.megapixels:g} million pixels, {self.seconds:g} seconds "
            f"each, {self.waiting} waiting."
        )


def _num_pixels(path: Path) -> int:
    width, height = size_of(path)
    return width * height


class Deadline:
    """The time at which a request ends.

    Args:
        seconds: The time from now.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        """Raise an error if the time has passed.

        Raises:
            TimeoutError: The time has passed.
        """
        if time.monotonic() >= self._end:
            raise TimeoutError(
                f"it took longer than {self.seconds:g} seconds, the limit of this server; choose fewer scales, no "
                "mirroring, no CRF, or a smaller picture"
            )

    @contextmanager
    def holds_for(self, network: nn.Module) -> Iterator[None]:
        """Within the block, check the time before each layer of a network, because a thread cannot be ended."""

        def check(*_: Any) -> None:
            self.check()

        hooks = [module.register_forward_pre_hook(check) for module in network.modules()]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
