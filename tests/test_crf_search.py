import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from deeplab_lightning import crf_search
from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf_search import NO_CRF, Grid, Search, confusion, draw_heat_map, fragment
from deeplab_lightning.metrics import mean_iou
from tests.patience import printed_until_all_have_ended

GRID = Grid((1, 3), (5, 15), (10,), (1,), (1,))


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Three images with a dark and a bright half, and noisy logits."""
    paths = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        target = np.zeros((20, 30), np.uint8)
        target[:, 12 + seed :] = 1
        image = np.where(target[..., None] == 1, 200, 50).repeat(3, -1).astype(np.uint8)
        score = target - 0.5 + rng.normal(0, 1, target.shape)
        logits = np.stack([-score, score]).astype(np.float16)
        paths.append(tmp_path / f"{seed}.npz")
        np.savez(paths[-1], image=image, logits=logits, target=target)
    return paths


class PicklingThreads(ThreadPoolExecutor):
    """A stand-in for processes, which take seconds to start: threads that get what a process could be sent."""

    def __init__(self, workers: int, *_: Any) -> None:
        super().__init__(workers)

    def submit(self, function: Any, /, *arguments: Any, **keywords: Any) -> Any:
        function, arguments = pickle.loads(pickle.dumps((function, arguments)))
        return super().submit(function, *arguments, **keywords)


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run workers in this process, for tests that do not depend on separate processes."""
    monkeypatch.setattr(crf_search, "ProcessPoolExecutor", PicklingThreads)


def quiet(crf: DenseCRF, done: int, total: int) -> None:
    assert 1 <= done <= total == 3


@pytest.mark.usefixtures("in_this_process")
def test_the_best_setting_has_the_best_score(images: list[Path], tmp_path: Path) -> None:
    search = Search(images, tmp_path / "search.csv", 1)
    best = search.run(GRID, 5, 1, quiet)
    assert set(GRID.settings(5, "after")) | {NO_CRF} < set(search.scores)
    total = torch.stack([confusion(best, path) for path in images]).sum(0)
    assert search.scores[best] == mean_iou(total) == max(search.scores.values())
    assert search.scores[best] > search.scores[NO_CRF] + 0.1
    assert set(GRID.around(best, 1)) <= set(search.scores)  # no neighbour is left to try


@pytest.mark.usefixtures("in_this_process")
def test_a_search_resumes(images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Search(images, tmp_path / "search.csv", 1)
    done = []

    def interrupted(crf: DenseCRF, image: int, total: int) -> None:
        done.append(crf)
        if len(set(done)) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.run(GRID, 5, 0, interrupted)
    assert len(first.scores) == 3
    second = Search(images, tmp_path / "search.csv", 1)
    assert second.scores == first.scores
    anew: set[DenseCRF] = set()
    second.run(GRID, 5, 0, lambda crf, image, total: anew.add(crf))
    assert anew == {NO_CRF, *GRID.settings(5, "after")} - set(first.scores)


@pytest.mark.usefixtures("in_this_process")
def test_normalisations_are_searched_separately(images: list[Path], tmp_path: Path) -> None:
    """They share one file. An old file without the column has scores of the symmetric kind, which are reused."""
    file = tmp_path / "search.csv"
    Search(images, file, 1, "symmetric").run(GRID, 5, 0, quiet)
    header, *rows = file.read_text().splitlines()
    old = [line.split(",", 1)[1] for line in (header, *rows)]
    assert old[0] == "bilateral_weight,bilateral_xy,bilateral_rgb,gaussian_weight,gaussian_xy,iterations,miou"
    file.write_text("\n".join([*old[:-1], ""]))
    symmetric, after = Search(images, file, 1, "symmetric"), Search(images, file, 1)
    assert len(symmetric.scores) == len(rows) - 1
    assert after.scores == {}
    anew: set[DenseCRF] = set()
    symmetric.run(GRID, 5, 0, lambda crf, image, total: anew.add(crf))
    assert {crf.normalization for crf in anew} == {"symmetric"}
    assert len(anew) == 1
    assert after.run(GRID, 5, 1, quiet).normalization == "after"
    assert Search(images, file, 1).scores == after.scores
    assert Search(images, file, 1, "symmetric").scores == symmetric.scores


@pytest.mark.usefixtures("in_this_process")
def test_if_no_crf_helps_the_best_is_no_crf(images: list[Path], tmp_path: Path) -> None:
    for path in images:  # the truth is what the logits say, noise and all
        with np.load(path) as saved:
            logits, image = saved["logits"], saved["image"]
        np.savez(path, logits=logits, image=image, target=logits.argmax(0).astype(np.uint8))
    search = Search(images, tmp_path / "search.csv", 1)
    assert search.run(GRID, 5, 2, quiet) == NO_CRF
    assert search.scores[NO_CRF] == 1
    assert len(search.scores) == 5


def test_the_papers_grid_and_its_neighbours() -> None:
    settings = Grid().settings(10, "after")
    assert len(settings) == 4 * 8 * 4
    assert settings[0] == DenseCRF(3, 30, 3, 3, 3)
    around = Grid().around(DenseCRF(3, 50, 4, 3, 3), 1)
    assert {(crf.bilateral_weight, crf.bilateral_xy, crf.bilateral_rgb) for crf in around} == {
        (2.5, 50, 4), (3.5, 50, 4), (3, 45, 4), (3, 55, 4), (3, 50, 3.5), (3, 50, 4.5),
    }  # fmt: skip
    assert all(crf.bilateral_weight > 0 for crf in Grid((1, 3)).around(DenseCRF(0.5), 1))
    with pytest.raises(ValueError, match="bilateral_rgb.*5, 3"):
        Grid(bilateral_rgb=(5, 3))


def test_the_written_config_can_be_used(tmp_path: Path) -> None:
    best = DenseCRF(2.5, 45, 4, 3, 3, normalization="symmetric")
    [callback] = yaml.safe_load(fragment(best, "found"))["trainer"]["callbacks+"]
    assert DenseCRF(**callback["init_args"]) == best
    scores = {
        DenseCRF(2.5, xy, rgb, 3, 3, normalization="symmetric"): xy * rgb / 500 for xy in (40, 45) for rgb in (3, 4)
    }
    draw_heat_map(scores | {NO_CRF: 0.1}, best, tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as picture:
        assert len(set(picture.convert("RGB").get_flattened_data())) > 10
    assert crf_search.AXES[0] in fragment(best, "found")


KILLED = """
import os, signal
from pathlib import Path
from deeplab_lightning.crf_search import Grid, Search
def advance(*_):
    print("at work", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
Search([Path({image!r})] * 3, Path({scores!r}), 1).run(Grid((1,), (5,), (10,)), 1, 0, advance)
"""


@pytest.mark.slow
def test_workers_end_when_the_search_is_killed(images: list[Path], tmp_path: Path) -> None:
    program = KILLED.format(image=str(images[0]), scores=str(tmp_path / "search.csv"))
    assert printed_until_all_have_ended(program) == "at work\n"
