"""The settings of fit, validate, test and predict. tests/integration runs them; errors are in tests/mistakes.yaml."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from deeplab_lightning.__main__ import main

LEFT = Path(__file__).parent / "runs_of_before" / "half" / "logs" / "fit_0" / "config.yaml"


def printed(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    with pytest.raises(SystemExit) as ended:
        main(["validate", *options, "--print_config"])
    assert ended.value.code == 0
    settings: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return settings


def test_the_config_of_a_run_implies_its_run_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    config = Path("moved", "logs", "fit_0", "config.yaml")
    config.parent.mkdir(parents=True)
    shutil.copy(LEFT, config)
    assert printed(capsys, "-c", str(config))["trainer"]["default_root_dir"] == "moved"
    options = (f"--config={config}", "--trainer.default_root_dir", "other", "--data.root", "~/x")
    settings = printed(capsys, *options)
    assert settings["trainer"]["default_root_dir"] == "other"
    left, model = yaml.safe_load(LEFT.read_text())["model"], settings["model"]
    assert model["class_path"].split(".")[-1] == left["class_path"].split(".")[-1]
    assert model["init_args"] | left["init_args"] == model["init_args"]  # later settings have their defaults
