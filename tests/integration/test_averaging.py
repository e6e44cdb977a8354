"""Early stopping and averaged weights by Lightning's callbacks, as docs/my_data.md shows them: exact after a kill."""

import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.integration.conftest import ROOT, Run
from tests.integration.test_resume import BATCHES_PER_EPOCH, assert_same, curve, options, start

PAGE = (ROOT / "docs" / "my_data.md").read_text()
LINES = re.findall(r"^trainer: .*$", PAGE, re.MULTILINE)
AVERAGING, STOPPING = (next(line for line in LINES if name in line) for name in ("EMAWeight", "EarlyStopping"))


def checkpoint(root: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(root / name, weights_only=True)
    return content


def trained_whole_and_cut(deeplab: Run, experiment: list[str], folder: Path, line: str) -> tuple[Path, Path]:
    """The run folders of a training with a line of YAML, and of one that is killed and resumed."""
    (folder / "line.yaml").write_text(line)
    whole, cut = folder / "whole", folder / "cut"
    own = ["-c", str(folder / "line.yaml")]
    assert deeplab(*options(experiment, whole, 1, 0), *own) == 0
    killed = ["tests.integration.killed", "training_step", "11"]
    assert start(killed, [*options(experiment, cut, 1, 0), *own]) == -signal.SIGKILL
    assert checkpoint(cut, "last.ckpt")["global_step"] % BATCHES_PER_EPOCH
    assert deeplab(*options(experiment, cut, 1, 0), *own, "--ckpt_path", "last") == 0
    assert curve(whole) == curve(cut)
    return whole, cut


@pytest.mark.slow
def test_averaged_weights_are_scored_saved_and_resumed(deeplab: Run, experiment: list[str], tmp_path: Path) -> None:
    whole, cut = trained_whole_and_cut(deeplab, experiment, tmp_path, AVERAGING.replace("0.999", "0.7"))
    for name in ("best.ckpt", "last.ckpt"):
        ours, theirs = checkpoint(whole, name), checkpoint(cut, name)
        for part in ("state_dict", "current_model_state", "averaging_state", "optimizer_states"):
            assert_same(ours[part], theirs[part], part)
    best = checkpoint(whole, "best.ckpt")
    weights = [key for key in best["state_dict"] if key.endswith("conv.weight") or key.startswith("network.classifier")]
    assert weights
    assert not any(torch.equal(best["state_dict"][key], best["current_model_state"][key]) for key in weights)
    logged = {step: float(value) for (name, step), value in curve(whole).items() if name == "val/miou"}
    assert best["description"]["score"]["value"] == pytest.approx(max(logged.values()))
    evaluation = ["validate", "-c", str(whole / "logs/fit_0/config.yaml"), "--ckpt_path", str(whole / "best.ckpt")]
    assert deeplab(*evaluation) == 0
    record = yaml.safe_load((whole / "logs/validate_0/evaluation.json").read_text())
    scored = next(each["value"] for each in record if each["metric"] == "val/miou")
    assert scored == pytest.approx(max(logged.values()))
    last = checkpoint(whole, "last.ckpt")  # of the end, where Lightning has put the averages into the model
    assert all(torch.equal(last["state_dict"][key], last["current_model_state"][key]) for key in weights)


@pytest.mark.slow
def test_a_training_that_stops_early_stops_at_the_same_step_after_a_kill(
    deeplab: Run, experiment: list[str], tmp_path: Path
) -> None:
    line = STOPPING.replace("patience: 5", "patience: 2, min_delta: 1")
    whole, cut = trained_whole_and_cut(deeplab, experiment, tmp_path, line)
    steps = [checkpoint(root, "last.ckpt")["global_step"] for root in (whole, cut)]
    assert steps == [12, 12]  # the second validation after the first, of which there is one in four steps
    assert_same(checkpoint(whole, "last.ckpt")["state_dict"], checkpoint(cut, "last.ckpt")["state_dict"], "weights")
