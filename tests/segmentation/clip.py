"""A short video, for the tests of segmentation."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

FRAMES = 5


def write_clip(path: Path) -> Path:
    """Write a lossless video of five frames of 33x41 with gaps between their times, and return its path."""
    av: Any = pytest.importorskip("av")
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 41, 33, "bgr0"
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 256, (33, 41, 3), np.uint8), format="rgb24")
            frame.pts = 2 * number
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path
