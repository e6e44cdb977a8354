"""Several processes on one machine train, and score every image exactly once."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forked import fork_deeplab, status_of, text_of
from tests.integration.conftest import Run
from tests.patience import PATIENCE


@pytest.mark.filterwarnings("ignore:a batch of 4 images is 2 on each of 2 processes")  # whose batch norms differ
def test_two_processes_score_each_image_once(deeplab: Run, experiment: list[str], tmp_path: Path) -> None:
    experiment = [*experiment]
    for name in ("CRFEvaluation", "TrimapEvaluation"):
        experiment += ["--trainer.callbacks+", name, "--trainer.callbacks.during_fit", "true"]
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
    shown = ["--trainer.enable_progress_bar", "true", "--trainer.enable_model_summary", "true"]
    log = tmp_path / "log"
    assert status_of(fork_deeplab(["fit", *experiment, *two, *shown], log)) == 0, text_of(log)
    check_lines_in_a_file(log.read_text(), log.with_suffix(".err").read_text())
    deeplab("validate", *experiment, "--ckpt_path", tmp_path / "run" / "last.ckpt")
    logs = tmp_path / "run" / "logs"
    assert {path.name for path in logs.iterdir()} == {"fit_0", "validate_0"}
    trained, alone = (
        {record["metric"]: record for record in json.loads((logs / name / "evaluation.json").read_text())}
        for name in ("fit_0", "validate_0")
    )
    for metric, record in alone.items():
        if "seconds" not in metric:
            assert record["value"] == trained[metric]["value"], metric
            assert record["identity"] == trained[metric]["identity"]
    assert {"val/miou_crf", "val/trimap_miou_crf/40"} < set(alone)
    assert trained["val/miou"]["identity"]["num_images"] == 5  # an odd number, on two processes


def check_lines_in_a_file(stdout: str, stderr: str) -> None:
    """Assert that a file gets plain lines from one process: one score per line, the first with its identity."""
    assert not {"\x1b", "\r", "━"} & set(stdout + stderr)
    assert len(re.findall(r"DeepLabV3Plus: [\d.]+ M parameters \(backbone [\d.]+ M, aspp", stdout)) == 1
    assert "FLOPs" not in stdout
    first, second = (line for line in stdout.splitlines() if "val/miou" in line)
    assert re.fullmatch(r"step 3: val/miou 0\.\d{4} \(.*, 5 images, .*\)", first)
    assert re.fullmatch(r"step 6: val/miou 0\.\d{4}", second)


SCALES_AND_FLIP = ["--model.scales", "[0.75, 1.0]", "--model.flip", "true"]
SLIDING = ["--model.window", "[32, 32]", "--model.window_stride", "[16, 24]"]
CALLBACKS = ["--trainer.callbacks+", "CRFEvaluation", "--trainer.callbacks+", "TrimapEvaluation"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "several"),
    [(SCALES_AND_FLIP, [3]), ([], [2, 4]), (SLIDING, [2])],
    ids=["scales and flip", "plain", "sliding windows"],
)
def test_any_number_of_processes_counts_the_same_pixels(
    experiment: list[str], tmp_path: Path, settings: list[str], several: list[int]
) -> None:
    counts = {}
    for number in (1, *several):
        out = tmp_path / f"{number}.json"
        options = [*experiment, "--untrained", "true", *CALLBACKS, *settings, "--trainer.devices", str(number)]
        options += ["--trainer.strategy", "ddp"]
        command = [sys.executable, "-m", "tests.integration.counted", str(out), "validate", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert done.returncode == 0, done.stdout + done.stderr
        counts[number] = json.loads(out.read_text())
    assert len(counts[1]) >= 6  # the whole split and the bands, without and with CRF, and the curves of both
    assert sum(counts[1][0]) > 5 * 48 * 64 * 0.8
    for number in several:
        assert counts[number] == counts[1], f"{number} processes"
