"""The papers' search for the settings of a CRF: a coarse grid, then a refinement around the best setting.

See section 5 of DeepLab v1 (arXiv:1412.7062) and section 4.1.1 of v2 (arXiv:1606.00915).
"""

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

from deeplab_lightning.atomic import replacing, write_atomically
from deeplab_lightning.callbacks.save_logits import load_logits
from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf.pool import start_worker
from deeplab_lightning.crf.settings import Normalization
from deeplab_lightning.metrics import ConfusionMatrix, mean_iou

AXES = ("bilateral_weight", "bilateral_xy", "bilateral_rgb", "gaussian_weight", "gaussian_xy")
NO_CRF = DenseCRF(bilateral_weight=0, gaussian_weight=0, iterations=1)

OnProgress = Callable[[DenseCRF, int, int], None]
"""A callback that takes the setting in progress, its number of finished images, and the number of all images."""


@dataclass(frozen=True)
class Grid:
    """The values of each setting in the coarse search, in ascending order. All combinations are tried.

    Args:
        bilateral_weight: The weights of the appearance kernel.
        bilateral_xy: The ranges of the appearance kernel in pixels.
        bilateral_rgb: The ranges of the appearance kernel in 8-bit colour values.
        gaussian_weight: The weights of the smoothness kernel.
        gaussian_xy: The ranges of the smoothness kernel in pixels.
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
                raise ValueError(f"{axis.name} needs one or more values in strictly ascending order, got {values}")

    def settings(self, iterations: int, normalization: Normalization) -> list[DenseCRF]:
        """All combinations of the values."""
        values = product(*(getattr(self, axis) for axis in AXES))
        return [crf_of(combination, iterations, normalization) for combination in values]

    def around(self, best: DenseCRF, halvings: int) -> list[DenseCRF]:
        """The two neighbours of a setting on each axis that has several values.

        Args:
            best: The setting.
            halvings: The number of times that the step is halved. It starts as the mean step of the grid on the axis.
        """
        neighbours = []
        for axis in AXES:
            values, value = getattr(self, axis), getattr(best, axis)
            if len(values) > 1:
                step = (values[-1] - values[0]) / (len(values) - 1) / 2**halvings
                neighbours += [replace(best, **{axis: near}) for near in (value - step, value + step) if near > 0]
        return neighbours


def crf_of(values: Sequence[float], iterations: int, normalization: Normalization) -> DenseCRF:
    """The CRF with these values of the axes."""
    settings: dict[str, Any] = dict(zip(AXES, values, strict=True))
    return DenseCRF(**settings, iterations=iterations, normalization=normalization)


class Search:
    """A search over CRF settings on saved logits. Scores are kept in a CSV file, so that a search can be resumed.

    Args:
        images: The files that `SaveLogits` wrote.
        scores_file: The path of the CSV file. Its scores with the same normalisation are reused, all others are kept.
        num_workers: The number of processes, each on one core.
        normalization: The normalisation of the messages in all settings.
    """

    def __init__(
        self, images: list[Path], scores_file: Path, num_workers: int, normalization: Normalization = "after"
    ) -> None:
        self.images, self.scores_file, self.num_workers = images, scores_file, num_workers
        self.normalization, self.no_crf = normalization, replace(NO_CRF, normalization=normalization)
        scores = _read(scores_file)
        self.scores = {crf: miou for crf, miou in scores if crf.normalization == normalization}

    def run(self, grid: Grid, iterations: int, rounds: int, on_progress: OnProgress) -> DenseCRF:
        """Find the best setting of the grid and of `rounds` refinements, or `no_crf` if no setting is better.

        Args:
            grid: The values of the coarse search.
            iterations: The number of mean-field iterations.
            rounds: The number of refinements. Each halves the step and moves on while a neighbour is better.
            on_progress: A callback that is called after each image.
        """
        with ProcessPoolExecutor(self.num_workers, get_context("spawn"), _start_worker) as executor:
            self._score([self.no_crf, *grid.settings(iterations, self.normalization)], executor, on_progress)
            for halvings in range(1, rounds + 1):
                best = None
                while best != self.best:
                    best = self.best
                    self._score(grid.around(best, halvings) if best != self.no_crf else [], executor, on_progress)
        return self.best

    @property
    def best(self) -> DenseCRF:
        """The best setting so far; the first one in a tie."""
        return max(self.scores, key=lambda crf: self.scores[crf])

    @property
    def best_crf(self) -> DenseCRF:
        """The best setting so far, other than `no_crf`."""
        return max(self.scores, key=lambda crf: (crf != self.no_crf, self.scores[crf]))

    def _score(self, settings: list[DenseCRF], executor: ProcessPoolExecutor, on_progress: OnProgress) -> None:
        for crf in settings:
            if crf in self.scores:
                continue
            total, futures = torch.zeros(()), [executor.submit(confusion, crf, path) for path in self.images]
            try:
                for done, future in enumerate(futures, 1):
                    total = total + future.result()
                    on_progress(crf, done, len(futures))
            finally:  # after Ctrl-C, the executor must not process the remaining images
                for future in futures:
                    future.cancel()
            self.scores[crf] = mean_iou(total)
            _append(self.scores_file, crf, self.scores[crf])


def _start_worker() -> None:
    start_worker()
    torch.set_num_threads(1)


def confusion(crf: DenseCRF, path: Path) -> Tensor:
    """The confusion matrix (K, K) of one saved image, refined by the CRF."""
    image, probabilities, target = load_logits(path)
    matrix = ConfusionMatrix(len(probabilities))
    matrix.update(crf(image, probabilities).argmax(0)[None], target[None])
    return matrix.compute()


def _read(path: Path) -> Iterator[tuple[DenseCRF, float]]:
    if not path.is_file():
        return
    lines = path.read_text().splitlines()
    if lines and "normalization" not in lines[0]:  # files from before this setting used the symmetric normalisation
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
    """Draw the mIoU over the two ranges of the appearance kernel as a heat map.

    Args:
        scores: The mIoU of each setting. Settings that differ from the best one on other axes are left out.
        best: The best setting.
        path: The path of the PNG file.
    """
    from matplotlib.figure import Figure

    others = [axis for axis in AXES if axis not in ("bilateral_xy", "bilateral_rgb")]
    shown = {
        (crf.bilateral_rgb, crf.bilateral_xy): miou
        for crf, miou in scores.items()
        if all(getattr(crf, axis) == getattr(best, axis) for axis in others)
    }
    rgbs, xys = sorted({rgb for rgb, _ in shown}), sorted({xy for _, xy in shown})
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
    with replacing(path) as draft:
        figure.savefig(draft, dpi=120, format="png")


def fragment(best: DenseCRF, heading: str) -> str:
    """The setting as a YAML config that can be added to an evaluation with `-c`. The heading becomes a comment."""
    lines = [f"# {heading}", "trainer:", "  callbacks+:", "    - class_path: CRFEvaluation", "      init_args:"]
    lines += [f"        {name}: {getattr(best, name):g}" for name in (*AXES, "iterations")]
    return "\n".join([*lines, f"        normalization: {best.normalization}", ""])
