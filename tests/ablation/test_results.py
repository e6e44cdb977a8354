from pathlib import Path

import pytest

from deeplab_lightning.ablation.results import describe_failure, read_results
from deeplab_lightning.run_folder import JobFolder


@pytest.mark.parametrize(
    ("status", "log", "failure"),
    [
        (-9, "$ deeplab fit\nstep 40: val/miou 0.1363 (VOC)", "killed by SIGKILL"),
        (143, "", "killed by SIGTERM"),
        (1, "Traceback\ndeeplab: error: no room", "ended with status 1: deeplab: error: no room"),
        (1, "deeplab: error: no room\nstep 40: val/miou 0.1363 (VOC)", "ended with status 1"),
        (-200, "", "ended with status -200"),
    ],
)
def test_failures_are_described(status: int, log: str, failure: str) -> None:
    assert describe_failure(status, log) == failure


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"seconds": null}', '{"seconds": 1.0}'])
def test_logs_that_cannot_be_read_are_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "logs" / "fit_0" / "run.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(ValueError, match=str(path)):
        read_results(JobFolder(tmp_path), "fit")


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("predict", "no label maps .* {}"),
        ("validate", "{}/evaluation.json"),
    ],
)
def test_missing_results_are_an_error(tmp_path: Path, command: str, error: str) -> None:
    log = tmp_path / "logs" / f"{command}_0"
    log.mkdir(parents=True)
    (log / "run.json").write_text('{"seconds": 2.0, "environment": {"num_devices": 1}}')
    with pytest.raises(ValueError, match=error.format(log)):
        read_results(JobFolder(tmp_path), command)
