"""The stages, each after a journey to another process, give the files of the threads' pipeline."""

import errno
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning import Segmenter
from deeplab_lightning.crf import DenseCRF
from deeplab_lightning.segmentation import writers
from deeplab_lightning.segmentation.inputs import Item, find_inputs
from deeplab_lightning.segmentation.manifest import Manifest
from deeplab_lightning.segmentation.pipeline import Pipeline, batches
from deeplab_lightning.segmentation.segmenter import Method
from deeplab_lightning.segmentation.stages import Batch, Stages
from deeplab_lightning.segmentation.writers import Kind

METHOD = Method(crf=DenseCRF(bilateral_xy=8.0, iterations=2), tile=256)
KINDS: tuple[Kind, ...] = ("masks", "confidence", "probabilities")


@pytest.fixture
def items(tmp_path: Path) -> Sequence[Item]:
    """Files of several sizes, one of them larger than a tile, and one that is damaged."""
    (tmp_path / "in").mkdir()
    for number, size in enumerate([(32, 40), (32, 40), (40, 300), (40, 32)]):
        values = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(values).save(tmp_path / "in" / f"{number}.png")
    (tmp_path / "in" / "broken.png").write_bytes(b"no image")
    return find_inputs([str(tmp_path / "in")]).items


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}


def elsewhere(value: Any) -> Any:
    """A value as another process gets it."""
    return pickle.loads(pickle.dumps(value))


def outcomes_of(stages: Stages, segmenter: Segmenter, items: Sequence[Item]) -> dict[str, dict[str, Any]]:
    stages, segmenter = elsewhere(stages), elsewhere(segmenter)
    outcomes: dict[str, dict[str, Any]] = {}
    for chunk in batches(items, stages.batch_size):
        batch = elsewhere(stages.read(elsewhere(Batch(chunk, {}))))
        batch = elsewhere(stages.segment(batch, segmenter))
        outcomes |= stages.write(batch).outcomes
    return outcomes


def test_the_files_are_those_of_the_threads(segmenter: Segmenter, items: Sequence[Item], tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    manifest = Manifest(whole)
    tally = Pipeline(segmenter, whole, METHOD, KINDS, batch_size=2, workers=2).run(items, manifest, lambda _: None)
    stages = Stages(segmenter, parts, METHOD, KINDS, batch_size=2, crf_in_writing=True)
    outcomes = outcomes_of(stages, segmenter, items)
    expected = {name: content for name, content in contents(whole).items() if name != "manifest.jsonl"}
    assert len(expected) == 12
    assert contents(parts) == expected
    assert [outcomes["broken"]["failure"]] == tally.failed
    origin = manifest.origin("2")
    assert origin is not None
    assert {key: outcomes["2"][key] for key in origin} == origin


@pytest.mark.parametrize(("number", "ends"), [(errno.ENOSPC, True), (errno.EACCES, True), (errno.ENAMETOOLONG, False)])
def test_a_folder_that_cannot_be_written_ends_the_run(
    segmenter: Segmenter,
    items: Sequence[Item],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    ends: bool,
) -> None:
    def refuse(result: Any, path: Path) -> None:
        raise OSError(number, "refused", str(path))

    monkeypatch.setitem(writers.WRITERS, "masks", refuse)
    pipeline, seen = Pipeline(segmenter, tmp_path / "out", Method(), ["masks"], workers=2), list[int]()
    manifest = Manifest(tmp_path / "out")
    if ends:
        with pytest.raises(OSError, match=r"\d\.png: refused"):
            pipeline.run(items, manifest, seen.append)
        assert len(seen) == 0
    else:
        assert len(pipeline.run(items, manifest, seen.append).failed) == len(items)
