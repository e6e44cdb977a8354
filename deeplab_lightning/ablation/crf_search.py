"""The papers' search for the settings of a CRF: a coarse grid, then refinement around the best (v1, 5; v2, 4.1.1)."""

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.callbacks.save_logits import load_logits
from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf.pool import start_worker
from deeplab_lightning.crf.settings import Normalization
from deeplab_lightning.metrics import ConfusionMatrix, mean_iou

AXES = ("bilateral_weight", "bilateral_xy", "bilateral_rgb", "gaussian_weight", "gaussian_xy")
NO_CRF = DenseCRF(bilateral_weight=0, gaussian_weight=0, iterations=1)

Advance = Callable[[DenseCRF, int, int], None]
"""Is told the setting in work, how many images of it are done, and how many there are."""


@dataclass(frozen=True)
class Grid:
    """The values to try of each setting, all combined; ascending.

    Args:
        bilateral_weight: of the appearance kernel.
        bilateral_xy: its range in pixels.
        bilateral_rgb: its range in 8-bit colour values.
        gaussian_weight: of the smoothness kernel.
        gaussian_xy: its range in pixels.
    """

    bilateral_weight: tuple[float, ...] = (3, 4, 5, 6)
    bilateral_xy: tuple[float, ...] = (30, 40, 50, 60, 70, 80, 90, 100)
    bilateral_rgb: tuple[float, ...] = (3, 4, 5, 6)
    gaussian_weight: tuple[float, ...] = (3,)
    gaussian_xy: tuple[float, ...] = (3,)

    def __post_init__(self) -> None:
        for axis in fields(self):
            values = getattr(self, axis.name)
            if not values or list(values) != sorted(set(values)):
                raise ValueError(f"the values of {axis.name} must be at least one, ascending, each once: {values}")

    def settings(self, iterations: int, normalization: Normalization) -> list[DenseCRF]:
        """All combinations."""
        values = product(*(getattr(self, axis) for axis in AXES))
        return [crf_of(combination, iterations, normalization) for combination in values]

    def around(self, best: DenseCRF, halvings: int) -> list[DenseCRF]:
        """The neighbours of a setting on each axis that has several values, the step of the grid halved so often."""
        neighbours = []
        for axis in AXES:
            values, value = getattr(self, axis), getattr(best, axis)
            if len(values) > 1:
                step = (values[-1] - values[0]) / (len(values) - 1) / 2**halvings
                neighbours += [replace(best, **{axis: value + way * step}) for way in (-1, 1) if value + way * step > 0]
        return neighbours


def crf_of(values: Sequence[float], iterations: int, normalization: Normalization) -> DenseCRF:
    """The CRF with these values of the axes."""
    settings: dict[str, Any] = dict(zip(AXES, values, strict=True))
    return DenseCRF(**settings, iterations=iterations, normalization=normalization)


class Search:
    """Scores settings on saved logits, and remembers the scores in a CSV file, so that a second start goes on.

    Args:
        images: what `SaveLogits` wrote.
        scores_file: the CSV file; its rows of this normalisation are taken over, the others kept.
        num_workers: processes, each on one core.
        normalization: of all settings.
    """

    def __init__(
        self, images: list[Path], scores_file: Path, num_workers: int, normalization: Normalization = "after"
    ) -> None:
        self.images, self.scores_file, self.num_workers = images, scores_file, num_workers
        self.normalization, self.no_crf = normalization, replace(NO_CRF, normalization=normalization)
        scores = _read(scores_file)
        self.scores = {crf: miou for crf, miou in scores if crf.normalization == normalization}

    def run(self, grid: Grid, iterations: int, rounds: int, advance: Advance) -> DenseCRF:
        """The best setting of the grid and of `rounds` refinements, or `no_crf` where none is better than that.

        Args:
            grid: its coarse part.
            iterations: of mean field.
            rounds: of refinement; each halves the step, and moves on while a neighbour is better.
            advance: shows the progress.
        """
        with ProcessPoolExecutor(self.num_workers, get_context("spawn"), _start_worker) as executor:
            self._score([self.no_crf, *grid.settings(iterations, self.normalization)], executor, advance)
            for halvings in range(1, rounds + 1):
                best = None
                while best != self.best:
                    best = self.best
                    self._score(grid.around(best, halvings) if best != self.no_crf else [], executor, advance)
        return self.best

    @property
    def best(self) -> DenseCRF:
        """The best so far; of equals the first."""
        return max(self.scores, key=lambda crf: self.scores[crf])

    @property
    def best_crf(self) -> DenseCRF:
        """The best so far of those that change something."""
        return max(self.scores, key=lambda crf: (crf != self.no_crf, self.scores[crf]))

    def _score(self, settings: list[DenseCRF], executor: ProcessPoolExecutor, advance: Advance) -> None:
        for crf in settings:
            if crf in self.scores:
                continue
            total, futures = torch.zeros(()), [executor.submit(confusion, crf, path) for path in self.images]
            try:
                for done, future in enumerate(futures, 1):
                    total = total + future.result()
                    advance(crf, done, len(futures))
            finally:  # Ctrl-C need not wait for the images that have not begun
                for future in futures:
                    future.cancel()
            self.scores[crf] = mean_iou(total)
            _append(self.scores_file, crf, self.scores[crf])


def _start_worker() -> None:
    start_worker()
    torch.set_num_threads(1)


def confusion(crf: DenseCRF, path: Path) -> Tensor:
    """The confusion matrix (K, K) of one saved image after the CRF."""
    image, probabilities, target = load_logits(path)
    matrix = ConfusionMatrix(len(probabilities))
    matrix.update(crf(image, probabilities).argmax(0)[None], target[None])
    return matrix.compute()


def _read(path: Path) -> Iterator[tuple[DenseCRF, float]]:
    if not path.is_file():
        return
    lines = path.read_text().splitlines()
    if lines and "normalization" not in lines[0]:  # a file from before this setting, when it was the symmetric one
        lines = [f"normalization,{lines[0]}", *(f"symmetric,{line}" for line in lines[1:])]
        write_atomically(path, "\n".join([*lines, ""]))
    for row in csv.DictReader(lines):
        normalization = cast(Normalization, row["normalization"])
        values = [float(row[axis]) for axis in AXES]
        yield crf_of(values, int(row["iterations"]), normalization), float(row["miou"])


def _append(path: Path, crf: DenseCRF, miou: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.is_file()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(["normalization", *AXES, "iterations", "miou"])
        writer.writerow([crf.normalization, *(getattr(crf, axis) for axis in AXES), crf.iterations, miou])
        file.flush()
        os.fsync(file.fileno())


def draw_heat_map(scores: dict[DenseCRF, float], best: DenseCRF, path: Path) -> None:
    """Draw the mIoU over the ranges of the appearance kernel into a PNG, its other settings being those of the best."""
    from matplotlib.figure import Figure

    others = [axis for axis in AXES if axis not in ("bilateral_xy", "bilateral_rgb")]
    shown = {
        (crf.bilateral_rgb, crf.bilateral_xy): miou
        for crf, miou in scores.items()
        if all(getattr(crf, axis) == getattr(best, axis) for axis in others)
    }
    rgbs, xys = (sorted({ranges[which] for ranges in shown}) for which in (0, 1))
    values = [[shown.get((rgb, xy), float("nan")) for xy in xys] for rgb in rgbs]
    figure = Figure(figsize=(1.6 + 0.6 * len(xys), 1.6 + 0.4 * len(rgbs)), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(values, origin="lower", aspect="auto")
    figure.colorbar(picture, label="mIoU")
    axes.set_xticks(range(len(xys)), [f"{xy:g}" for xy in xys])
    axes.set_yticks(range(len(rgbs)), [f"{rgb:g}" for rgb in rgbs])
    axes.set_xlabel("bilateral_xy")
    axes.set_ylabel("bilateral_rgb")
    axes.set_title(f"bilateral_weight {best.bilateral_weight:g}", fontsize=10)
    figure.savefig(path, dpi=120)


def fragment(best: DenseCRF, heading: str) -> str:
    """The setting as a config, ready for `-c` on top of an evaluation."""
    lines = [f"# {heading}", "trainer:", "  callbacks+:", "    - class_path: CRFEvaluation", "      init_args:"]
    lines += [f"        {name}: {getattr(best, name):g}" for name in (*AXES, "iterations")]
    return "\n".join([*lines, f"        normalization: {best.normalization}", ""])
