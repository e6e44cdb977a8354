"""Fixtures for tiny runs of the real command in this process."""

import os
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest

import deeplab_lightning.cli  # noqa: F401  (at its first import, Lightning's log handler keeps the standard error)
from deeplab_lightning.__main__ import main

ROOT = Path(__file__).parents[2]
TINY = """
model:
  class_path: DeepLabV3PlusModule
  init_args: {backbone: mobilenet_v2, aspp_channels: 16, low_level_channels: 8, decoder_channels: 16, lr: 0.01}
data:
  init_args: {batch_size: 4, crop_size: [32, 32], num_workers: 0}
trainer:
  accelerator: cpu
  devices: 1
  max_steps: 6
  val_check_interval: 3
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
"""
Run = Callable[..., int]
Failure = Callable[..., str]


@pytest.fixture
def experiment(tmp_path: Path, shapes_root: Path) -> list[str]:
    """The options of a small experiment on Shapes, with its run folder at <tmp_path>/run."""
    return experiment_in(tmp_path, shapes_root)


def experiment_in(folder: Path, shapes_root: Path) -> list[str]:
    """The options of the small experiment, with its run folder at <folder>/run."""
    (folder / "tiny.yaml").write_text(TINY)
    (folder / "data.yaml").write_text(f"data: {{class_path: FolderDataModule, init_args: {{root: {shapes_root}}}}}\n")
    configs = [ROOT / "experiments" / "base.yaml", folder / "data.yaml", folder / "tiny.yaml"]
    options = [option for config in configs for option in ("-c", str(config))]
    return [*options, "--trainer.default_root_dir", str(folder / "run")]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, shapes_root: Path) -> Path:
    """The run folder of the small experiment after its six steps. No test changes it."""
    folder = tmp_path_factory.mktemp("finished")
    assert main(["fit", *experiment_in(folder, shapes_root)]) == 0
    return folder / "run"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of that folder, where `fit` with the options of `experiment` would have left it."""
    return Path(copytree(finished, tmp_path / "run"))


@pytest.fixture
def deeplab(monkeypatch: pytest.MonkeyPatch) -> Run:
    """A function that calls `deeplab` with its arguments and lets exceptions through."""
    monkeypatch.setenv("DEEPLAB_TRACEBACK", "1")
    return lambda *arguments: main([str(argument) for argument in arguments])


@pytest.fixture
def failure(capsys: pytest.CaptureFixture[str]) -> Failure:
    """A function that calls `deeplab`, expects a failure, and returns the one error line."""

    def fail(*arguments: object) -> str:
        status = main([str(argument) for argument in arguments])
        errors = capsys.readouterr().err
        assert status in (1, 2), errors
        assert "Traceback" not in errors
        lines = [line for line in errors.splitlines() if line.startswith("deeplab: error: ")]
        assert len(lines) == 1, errors
        return lines[0]

    return fail


@pytest.fixture
def srun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put `srun` on the PATH, like on a login node of SLURM, where Lightning would warn that it is not used."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    (folder / "srun").touch(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
