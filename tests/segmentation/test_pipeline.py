import json
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from deeplab_lightning import Segmenter
from deeplab_lightning.segmentation import pipeline as pipelines
from deeplab_lightning.segmentation.inputs import Item, find_inputs
from deeplab_lightning.segmentation.manifest import Manifest
from deeplab_lightning.segmentation.pipeline import Division, Pipeline, Tally, divide
from deeplab_lightning.segmentation.segmenter import Method
from tests.patience import wait_until
from tests.segmentation.clip import write_clip

SIZES = [(32, 40), (32, 40), (40, 32), (32, 40), (33, 40)]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number, size in enumerate(SIZES):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(folder / f"{number}.png")
    return folder


def segment(
    segmenter: Segmenter, images: Path, out: Path, items: Sequence[Item] | None = None, **settings: Any
) -> Tally:
    how = Method(**settings.pop("method", {}))
    pipeline = Pipeline(segmenter, out, how, settings.pop("kinds", ["masks"]), workers=2, **settings)
    finished: list[int] = []
    tally = pipeline.run(items or find_inputs([str(images)]).items, Manifest(out), finished.append)
    assert sum(finished) == tally.done + tally.kept + len(tally.failed)
    return tally


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".jsonl")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_files_are_the_results_of_the_segmenter(segmenter: Segmenter, images: Path, tmp_path: Path) -> None:
    kinds = ["masks", "confidence", "overlays", "polygons", "probabilities"]
    assert segment(segmenter, images, tmp_path / "out", kinds=kinds).done == 5
    assert len(contents(tmp_path / "out")) == 5 * len(kinds)
    for number, size in enumerate(SIZES):
        mask = np.asarray(Image.open(tmp_path / "out" / "masks" / f"{number}.png"))
        assert mask.shape == size
        np.testing.assert_array_equal(mask, segmenter.segment(images / f"{number}.png").mask)
    record = json.loads((tmp_path / "out" / "manifest.jsonl").read_text().splitlines()[0])
    assert record["model"] == segmenter.digest
    assert len(record["outputs"]) == len(kinds)
    assert sum(record["areas"].values()) in {height * width for height, width in SIZES}
    assert {"name", "input", "sha256", "settings", "time", "seconds"} <= set(record)


def test_a_second_run_does_only_what_is_missing(segmenter: Segmenter, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    segment(segmenter, images, out, batch_size=2)
    before = contents(out)
    assert segment(segmenter, images, out, batch_size=2).kept == 5
    (out / "masks" / "1.png").unlink()
    Image.new("RGB", (9, 9)).save(images / "3.png")
    stale = out / "masks" / ".1.png.0123abcd.draft"
    stale.touch()
    tally = segment(segmenter, images, out, batch_size=2)
    assert (tally.done, tally.kept) == (2, 3)
    assert not stale.exists()
    assert contents(out)["masks/1.png"] == before["masks/1.png"]
    assert len((out / "manifest.jsonl").read_text().splitlines()) == 5
    assert segment(segmenter, images, out, batch_size=2, method={"flip": True}).done == 5


def test_bad_files_are_reported_and_the_rest_is_done(segmenter: Segmenter, images: Path, tmp_path: Path) -> None:
    (images / "1.png").write_bytes(b"no image")
    (images / "2.png").chmod(0)
    Image.new("RGB", (8, 8)).save(images / "9.gif", save_all=True, append_images=[Image.new("RGB", (8, 8), "red")])
    items = [*find_inputs([str(images)]).items, Item(images / "missing.png", "missing")]
    tally = segment(segmenter, images, tmp_path / "out", items, batch_size=3)
    failed = {line.partition(":")[0].rpartition("/")[2] for line in tally.failed}
    assert {"1.png", "9.gif", "missing.png"} <= failed <= {"1.png", "2.png", "9.gif", "missing.png"}
    assert tally.done == len(items) - len(failed)


def test_pages_are_written_one_by_one(segmenter: Segmenter, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (2, 24, 30, 3), np.uint8)
    tifffile.imwrite(tmp_path / "scan.tif", values)
    tally = segment(segmenter, tmp_path, tmp_path / "out", [Item(tmp_path / "scan.tif", "scan")])
    assert tally.done == 1
    for number, page in enumerate(values, 1):
        mask = np.asarray(Image.open(tmp_path / "out" / "masks" / f"scan_page000{number}.png"))
        np.testing.assert_array_equal(mask, segmenter.segment(page).mask)


def test_batches_do_not_depend_on_where_a_run_stopped(segmenter: Segmenter, images: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    kinds = ["masks", "probabilities"]
    segment(segmenter, images, whole, batch_size=3, kinds=kinds)
    segment(segmenter, images, parts, batch_size=3, kinds=kinds)
    for path in [*(parts / "probabilities").glob("[13].npz"), parts / "manifest.jsonl"]:
        path.unlink()
    segment(segmenter, images, parts, batch_size=3, kinds=kinds)
    assert contents(parts) == contents(whole)


def test_an_interruption_leaves_whole_files(segmenter: Segmenter, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    pipeline = Pipeline(segmenter, out, Method(), ["masks"], workers=1)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.run(find_inputs([str(images)]).items, Manifest(out), interrupt)
    for path in out.rglob("*.png"):
        assert not path.name.startswith(".")
        Image.open(path).load()
    tally = segment(segmenter, images, out)
    assert tally.kept >= 1
    assert tally.done + tally.kept == 5


def test_what_ends_after_an_interruption_is_recorded(segmenter: Segmenter, images: Path, tmp_path: Path) -> None:
    out, pipeline = tmp_path / "out", Pipeline(segmenter, tmp_path / "out", Method(), ["masks"], workers=1)
    second = out / "masks" / "1.png"

    def interrupt(_: int) -> None:
        wait_until(second.exists)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.run(find_inputs([str(images)]).items, Manifest(out), interrupt)
    names = {json.loads(line)["name"] for line in (out / "manifest.jsonl").read_text().splitlines()}
    assert {"0", "1"} <= names == {path.stem for path in (out / "masks").iterdir()}


@pytest.mark.parametrize("kind", ["video", "tiles"])
def test_a_video_and_an_image_by_tiles_end_at_an_interruption(
    segmenter: Segmenter, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    long = write_clip(tmp_path / "long.mkv") if kind == "video" else tmp_path / "long.png"
    if kind == "tiles":
        Image.fromarray(np.zeros((33, 1000, 3), np.uint8)).save(long)
    items = [Item(images / "0.png", "short"), Item(long, "long")]
    stopped, at_long, steps = threading.Event(), threading.Event(), list[int]()
    shutdown = ThreadPoolExecutor.shutdown

    def signalling(pool: ThreadPoolExecutor, wait: bool = True, *, cancel_futures: bool = False) -> None:
        stopped.set()
        shutdown(pool, wait, cancel_futures=cancel_futures)

    def hold_the_second(_: Any, inputs: Any) -> None:
        if inputs[0].shape[2] == 33:
            steps.append(1)
            if len(steps) == 2:
                at_long.set()
                stopped.wait()

    def interrupt(_: int) -> None:
        at_long.wait()
        raise KeyboardInterrupt

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", signalling)
    pipeline = Pipeline(segmenter, tmp_path / "out", Method(tile=256), ["masks"], workers=2)
    with segmenter.network.register_forward_pre_hook(hold_the_second), pytest.raises(KeyboardInterrupt):
        pipeline.run(items, Manifest(tmp_path / "out"), interrupt)
    assert len(steps) == 2
    assert {path.name for path in (tmp_path / "out").rglob("*.*")} == {"short.png", "manifest.jsonl"}
    assert Manifest(tmp_path / "out").origin("short") is not None
    tally = pipeline.run(items, Manifest(tmp_path / "out"), lambda _: None)
    assert (tally.done, tally.kept) == (1, 1)


@pytest.mark.parametrize(
    ("images", "videos", "batch_size", "limit", "expected"),
    [
        (100, 0, 1, None, (8, 1, 8)),
        (1, 0, 1, None, (1, 8, 8)),
        (5, 0, 2, None, (3, 2, 8)),
        (100, 2, 1, None, (8, 1, 4)),
        (0, 20, 1, None, (8, 1, 1)),
        (0, 0, 1, None, (1, 8, 8)),
        (1, 0, 1, 3, (1, 3, 3)),
    ],
)
def test_processors_are_divided_among_few_files(
    images: int, videos: int, batch_size: int, limit: int | None, expected: tuple[int, int, int]
) -> None:
    names = [f"{number}.png" for number in range(images)] + [f"{number}.mp4" for number in range(videos)]
    items = [Item(Path(name), name) for name in names]
    assert divide(items, batch_size, 8, 8, limit=limit) == Division(*expected)


def test_few_files_large_images_and_videos_use_all_processors(
    segmenter: Segmenter, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(3)), raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setattr(pipelines, "LARGEST_WHOLE", 32 * 40)
    clip = Item(write_clip(tmp_path / "clip.mkv"), "clip")
    small = [Item(images / f"{number}.png", str(number)) for number in (0, 1)]
    large = Item(images / "4.png", "4")

    def threads(*items: Item) -> dict[int, set[int]]:
        """The numbers of threads by the height of the images."""
        seen: dict[int, set[int]] = {}
        own = tmp_path / "_".join(item.name for item in items)
        with segmenter.network.register_forward_pre_hook(
            lambda _, inputs: seen.setdefault(inputs[0].shape[2], set()).add(torch.get_num_threads())
        ):
            Pipeline(segmenter, own, Method(), ["masks"]).run(items, Manifest(own), lambda _: None)
        return seen

    assert threads(small[0]) == {32: {3}}
    assert threads(*small) == {32: {1}}
    assert threads(*small, large) == {32: {1}, 33: {3}}
    assert threads(*small, clip) == {32: {1}, 33: {3}}
