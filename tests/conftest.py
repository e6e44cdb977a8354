"""Data and settings that the tests share."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from deeplab_lightning.datasets.shapes import generate
from tests.browser import chromium, has_chromium
from tests.devkits import write_sbd, write_voc

os.environ["WANDB_MODE"] = "disabled"  # tests of W&B choose their own mode
os.environ.pop("DEEPLAB_TRACEBACK", None)
for name in [name for name in os.environ if name.startswith("SLURM_")]:
    del os.environ[name]  # in a SLURM job, Lightning would take each test's process for one of the job's tasks
os.environ["OMP_NUM_THREADS"] = "1"  # for processes that tests start: more threads do not help such small networks
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shapes_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Shapes tree: 12 train, 5 val, 3 test images of 48x64."""
    root = tmp_path_factory.mktemp("shapes")
    generate(root, {"train": 12, "val": 5, "test": 3}, (48, 64))
    return root


@pytest.fixture(scope="session")
def voc_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small VOC2012."""
    return write_voc(tmp_path_factory.mktemp("voc") / "VOC2012")


@pytest.fixture(scope="session")
def sbd_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small folder `dataset` of SBD that belongs to `voc_root`."""
    return write_sbd(tmp_path_factory.mktemp("sbd") / "dataset")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty folder for cached class counts."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "deeplab_lightning"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real samples; the test is skipped if there is none."""
    root = Path(os.environ.get("DEEPLAB_DATA", "data"))
    if not (root / "camvid" / "class_names.txt").is_file():
        pytest.skip(f"no real data in {root}; set DEEPLAB_DATA")
    return root


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, without its window; the test is skipped without it."""
    if not has_chromium():
        pytest.skip("needs chromium and playwright")
    with chromium() as started:
        yield started


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def filled_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of published weights that holds the smallest checkpoint of the release, with random weights."""
    from tests.published.releases import prepare_cache, random_network

    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPLAB_WEIGHTS", str(folder))
        prepare_cache(folder, random_network())
    return folder


@pytest.fixture
def weights_cache(filled_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder above as the one that names are looked up in; nothing is downloaded."""
    monkeypatch.setenv("DEEPLAB_WEIGHTS", str(filled_cache))
    return filled_cache
