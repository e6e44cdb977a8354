"""Paths under experiments/ that the working directory lacks are found in the package."""

from pathlib import Path

import pytest

from deeplab_lightning.__main__ import main
from deeplab_lightning.packaged import EXPERIMENTS, expand_experiment, find_experiment

ROOT = Path(__file__).parents[1]


def test_the_package_holds_the_folder_at_the_top() -> None:
    assert EXPERIMENTS.resolve() == ROOT / "experiments"


def test_paths_that_are_missing_here_are_those_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in ("experiments/base.yaml", "experiments/model/deeplab_v3.yaml", "experiments/ablations"):
        assert find_experiment(path) == EXPERIMENTS.parent / path
    for path in ("experiments/none.yaml", "base.yaml", "model/deeplab_v3.yaml", str(tmp_path / "experiments"), ""):
        assert find_experiment(path) == Path(path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "base.yaml").touch()
    assert find_experiment("experiments/base.yaml") == Path("experiments/base.yaml")
    assert find_experiment("experiments/data/voc2012.yaml") == EXPERIMENTS / "data" / "voc2012.yaml"


def test_only_yaml_files_are_expanded_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run folder named experiments/results must not move into the package."""
    monkeypatch.chdir(tmp_path)
    assert expand_experiment("--config=experiments/base.yaml") == f"--config={EXPERIMENTS / 'base.yaml'}"
    assert expand_experiment("experiments/base.yaml") == str(EXPERIMENTS / "base.yaml")
    for word in ("experiments", "experiments/results", "--output=experiments/results", "fit", "--model.lr=0.1", ""):
        assert expand_experiment(word) == word


def test_commands_find_them_in_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["describe", "-c", "experiments/model/deeplab_v1_largefov.yaml", "--json"]) == 0
    assert "20505429" in capsys.readouterr().out
    assert main(["ablate", "experiments/ablations", "--rows", "deeplab_v3_table3/mg111_block4", "--dry-run"]) == 0
    assert "--wandb.group deeplab_v3_table3" in capsys.readouterr().out
