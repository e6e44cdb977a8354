"""Training with two processes gives the same weights and losses as training with one."""

import json
import signal
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch
from PIL import Image

from tests.forked import fork_deeplab, status_of, text_of
from tests.integration.conftest import Run
from tests.integration.test_resume import TWO, curve, start
from tests.integration.test_two_hosts import free_port

OPTIONS = ["--trainer.max_steps", "8", "--trainer.limit_val_batches", "0", "--model.freeze_batch_norm", "true"]
OPTIONS += ["--model.dropout", "0.5"]
OPTIONS += ["--trainer.precision", "64-true"]  # in 32 bits, rounding errors grow with the steps
WEIGHTS = ["--model.class_weights", "[0.1, 1.0, 3.0, 0.5, 2.0, 1.0, 0.2, 1.5]"]


@pytest.fixture
def uneven(shapes_root: Path, tmp_path: Path) -> Path:
    """Data where most pixels of every third mask are void, so the ranks have different numbers of valid pixels."""
    root = Path(copytree(shapes_root, tmp_path / "data"))
    for path in sorted((root / "SegmentationClass").iterdir())[::3]:
        with Image.open(path) as image:
            mask, palette = np.array(image), image.getpalette()
        mask[:, 10:] = 255
        void = Image.fromarray(mask)
        assert palette is not None
        void.putpalette(palette)
        void.save(path)
    return root


@pytest.mark.parametrize("weighted", [pytest.param(False, marks=pytest.mark.slow), True])
def test_two_processes_train_as_one(
    deeplab: Run, experiment: list[str], uneven: Path, tmp_path: Path, weighted: bool
) -> None:
    options = ["fit", *experiment, *OPTIONS, *(WEIGHTS if weighted else []), "--data.root", str(uneven)]
    one, two = tmp_path / "one", tmp_path / "two"
    assert deeplab(*options, "--data.batch_size", 4, "--trainer.default_root_dir", one) == 0
    options += [*TWO, "--data.batch_size", "4", "--trainer.default_root_dir", str(two)]
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2", "NODE_RANK": "0"}
    logs = [tmp_path / f"rank_{rank}" for rank in range(2)]
    ranks = [fork_deeplab(options, log, address | {"LOCAL_RANK": str(rank)}) for rank, log in enumerate(logs)]
    assert [status_of(rank) for rank in ranks] == [0, 0], [text_of(log) for log in logs]
    record = json.loads((two / "logs" / "fit_0" / "run.json").read_text())
    assert (record["batch"]["images"], record["batch"]["images_per_process"]) == (4, 2)
    weights = [torch.load(root / "last.ckpt", weights_only=True) for root in (one, two)]
    assert [each["global_step"] for each in weights] == [8, 8]
    for name, tensor in weights[0]["state_dict"].items():
        torch.testing.assert_close(weights[1]["state_dict"][name], tensor, rtol=0, atol=1e-12, msg=name)
    alone, shared = ({key: float(value) for key, value in curve(root).items()} for root in (one, two))
    losses = [key for key in alone if key[0] == "train/loss"]
    assert len(losses) == 8
    assert alone["train/loss", 7] < alone["train/loss", 0]
    for key in losses:
        assert shared[key] == pytest.approx(alone[key], abs=1e-5), key


@pytest.mark.slow
@pytest.mark.parametrize("processes", [(1, 2), (2, 1)])
def test_a_training_continues_on_another_number_of_processes(
    deeplab: Run, experiment: list[str], uneven: Path, tmp_path: Path, processes: tuple[int, int]
) -> None:
    options = ["fit", *experiment, *OPTIONS, "--data.root", str(uneven), "--data.batch_size", "4"]
    options += ["--checkpoint.every_n_steps", "4", "--ckpt_path", "last"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert deeplab(*options, "--trainer.default_root_dir", whole) == 0
    options += ["--trainer.default_root_dir", str(cut)]
    first, second = ([*options, *(TWO if each > 1 else [])] for each in processes)
    assert start(["tests.integration.killed", "training_step", "6"], first) == -signal.SIGKILL
    assert torch.load(cut / "last.ckpt", weights_only=True)["global_step"] == 4
    assert start(["deeplab_lightning"], second) == 0
    states = [torch.load(root / "last.ckpt", weights_only=True)["state_dict"] for root in (whole, cut)]
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=0, atol=1e-12, msg=name)
