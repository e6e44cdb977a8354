"""Segmenting a video, one frame after another, into a video of label maps and a video of overlays."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from deeplab_lightning.atomic import replacing
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.pixels import RGB
from deeplab_lightning.drawing import overlay
from deeplab_lightning.extras import require
from deeplab_lightning.segmentation.pictures import Picture
from deeplab_lightning.segmentation.segmenter import Method, Segmenter


def segment_video(
    segmenter: Segmenter, path: Path, folder: Path, *, name: str, how: Method
) -> tuple[list[str], Counter[str]]:
    """Write masks/NAME.mkv, a lossless grey video of class indices (FFV1), and overlays/NAME.mp4 (H.264).

    Frames keep their times. Only one frame at a time is in memory.

    Args:
        segmenter: The model.
        path: Path of the video.
        folder: The output folder.
        name: Name of the outputs without suffix.
        how: The way from a frame to its label map.

    Returns:
        The written files, relative to the folder, and the number of pixels of each class in all frames.

    Raises:
        DataError: The video cannot be read, the model takes no RGB, or the package av is missing.
        OSError: A file cannot be written.
    """
    _refuse_what_cannot_work(segmenter, path)
    import av

    masks, overlays = folder / "masks" / f"{name}.mkv", folder / "overlays" / f"{name}.mp4"
    areas, palette = Counter[str](), segmenter.description.palette
    try:
        with ExitStack() as stack:
            source = stack.enter_context(av.open(str(path)))
            drafts = [stack.enter_context(replacing(path)) for path in (masks, overlays)]
            writers: list[_Writer] = []
            for pixels, frame in _frames(source, path):
                if not writers:
                    rate = source.streams.video[0].average_rate or 25
                    writers = [
                        stack.enter_context(_Writer(drafts[0], "matroska", ("ffv1", "gray"), rate)),
                        stack.enter_context(_Writer(drafts[1], "mp4", ("libx264", "yuv420p"), rate)),
                    ]
                (result,) = segmenter.run([Picture(pixels, str(path))], how, False, False)
                areas.update(result.areas)
                writers[0].write(result.mask, "gray", frame)
                writers[1].write(overlay(result.image, result.mask, palette), "rgb24", frame)
            if not writers:
                raise DataError("it has no frame", path)
    except av.FFmpegError as error:
        raise DataError(f"it cannot be read as a video ({error})", path) from error
    return [path.relative_to(folder).as_posix() for path in (masks, overlays)], areas


def _refuse_what_cannot_work(segmenter: Segmenter, path: Path) -> None:
    if (channels := segmenter.reader.num_channels) != RGB.num_channels:
        raise DataError(f"a video has 3 channels, but the model takes {channels}", path)
    try:
        require("video", "a video")
    except ModuleNotFoundError as error:
        raise DataError(str(error), path) from error


def _frames(source: Any, path: Path) -> Iterator[tuple[NDArray[np.uint8], Any]]:
    """Yield the pixels (H, W, 3) of each frame, turned upright, and the frame itself."""
    if not source.streams.video:
        raise DataError("it holds no video", path)
    for frame in source.decode(video=0):
        turns = round(frame.rotation / 90) % 4
        yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns)), frame


class _Writer:
    """A context manager that encodes frames into a file."""

    def __init__(self, path: Path, container: str, codec: tuple[str, str], rate: Any) -> None:
        import av

        self._file = cast(Any, av.open(str(path), "w", format=container))
        self._stream = self._file.add_stream(codec[0], rate=rate)
        self._stream.pix_fmt = codec[1]
        self._is_even = codec[1] == "yuv420p"  # which halves the colours' sides
        self._size: tuple[int, int] | None = None

    def write(self, pixels: NDArray[np.uint8], layout: str, source: Any) -> None:
        """Encode a frame at the time of the source's frame."""
        import av

        if self._is_even:
            odd = pixels.shape[0] % 2, pixels.shape[1] % 2
            pixels = np.pad(pixels, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge")
        if self._size is None:
            self._size = pixels.shape[0], pixels.shape[1]
            self._stream.height, self._stream.width = self._size
            if source.time_base is not None:
                self._stream.codec_context.time_base = source.time_base
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=layout)
        frame.pts, frame.time_base = source.pts, source.time_base
        self._file.mux(self._stream.encode(frame))

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if kind is None and self._size is not None:
            self._file.mux(self._stream.encode())
        self._file.close()
