"""Measuring latency and peak memory of a network by several engines, in turns, so that a busy moment hits all alike."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from deeplab_lightning.export.engines import Engine, Run
from deeplab_lightning.export.graph import blurred_noise
from deeplab_lightning.export.memory import peak_memory
from deeplab_lightning.segmentation.pictures import affine
from deeplab_lightning.segmentation.segmenter import Segmenter

Size = tuple[int, int, int]
"""Batch, height and width."""


def words(size: Size) -> str:
    """Return a size as text, such as 1x513x513."""
    return "x".join(map(str, size))


@dataclass
class Measurement:
    """One engine at one size.

    Args:
        engine: The engine.
        size: Batch, height and width.
        device: Device that it ran on.
        seconds: Duration of each pass.
        peak_bytes: Memory of a pass at its peak beyond the weights; None where the system does not tell it.
        equal_labels: Share of the pixels with the labels of the first engine.
        skipped: Reason why the engine cannot run; empty if it ran.
    """

    engine: Engine
    size: Size
    device: str
    seconds: list[float] = field(default_factory=list)
    peak_bytes: int | None = None
    equal_labels: float | None = None
    skipped: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        batch, height, width = self.size
        return {
            "engine": self.engine.name,
            "precision": self.engine.precision,
            "device": self.device,
            "batch": batch,
            "height": height,
            "width": width,
            "skipped": self.skipped or None,
            "median_seconds": statistics.median(self.seconds) if self.seconds else None,
            "min_seconds": min(self.seconds, default=None),
            "repeats": len(self.seconds),
            "peak_bytes": self.peak_bytes,
            "equal_labels": self.equal_labels,
        }


def measure(
    segmenter: Segmenter, engines: Sequence[Engine], size: Size, repeats: int, on_progress: Callable[[str], None]
) -> list[Measurement]:
    """Measure engines at one size.

    Each engine runs twice before it is timed: it compiles and takes its memory then. An engine that cannot run is
    skipped with the reason.

    Args:
        segmenter: The model.
        engines: The engines.
        size: Batch, height and width.
        repeats: Number of timed passes of each engine.
        on_progress: Function that is called with the engine and the size that run next.
    """
    batch, height, width = size
    shares = blurred_noise((batch, segmenter.reader.num_channels, height, width))
    factor, offset = affine(segmenter.description.normalization, (0.0, 1.0))
    images = shares * factor[:, None, None] + offset[:, None, None]
    measured, running, reference = [], [], torch.empty(0)
    for engine in engines:
        on_progress(f"{engine.name} at {words(size)}")
        device = torch.device("cpu") if engine.on_cpu else segmenter.device
        measurement = Measurement(engine, size, str(device))
        measured.append(measurement)
        own = images.to(device)
        try:
            run, labels = _warm_up(segmenter, measurement, own)
        except Exception as error:  # whatever a compiler, a runtime or a driver raises is the reason
            measurement.skipped = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            continue
        reference = reference if len(reference) else labels
        measurement.equal_labels = float((labels == reference).float().mean())
        running.append((measurement, run, own))
    for _ in range(repeats):
        for measurement, run, own in running:
            on_progress(f"{measurement.engine.name} at {words(size)}")
            measurement.seconds.append(_duration(run, own))
    return measured


def _warm_up(segmenter: Segmenter, measurement: Measurement, images: Tensor) -> tuple[Run, Tensor]:
    """Make an engine ready, and return it with the labels of the images; the measurement gets its memory."""
    run = measurement.engine.prepare(segmenter)
    with torch.inference_mode():
        _, first = peak_memory(lambda: run(images), images.device)
        logits, second = peak_memory(lambda: run(images), images.device)
    measurement.peak_bytes = first if measurement.engine.keeps_memory else second
    return run, logits.argmax(1).cpu()


@torch.inference_mode()
def _duration(run: Run, images: Tensor) -> float:
    _synchronize(images.device)
    start = time.perf_counter()
    run(images)
    _synchronize(images.device)
    return time.perf_counter() - start


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
