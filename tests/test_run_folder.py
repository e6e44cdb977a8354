import os
from pathlib import Path

import pytest

from deeplab_lightning.run_folder import JobFolder, JobKey, LogFolder, RunFolder, newest


def write(path: Path, seconds: int) -> Path:
    """Write an empty file with a given time of change."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    os.utime(path, (seconds, seconds))
    return path


def test_logs_are_found_by_their_command_and_counted_on(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.new_log("fit").path == tmp_path / "logs" / "fit_0"
    for name in ("fit_0", "fit_1", "validate_0"):
        (tmp_path / "logs" / name).mkdir(parents=True)
    (tmp_path / "logs" / "fit_notes").write_text("")
    assert run.new_log("fit").path.name == "fit_2"
    assert {log.path.name for log in run.logs("fit")} == {"fit_0", "fit_1"}
    assert {log.command for log in run.logs()} == {"fit", "validate"}


def test_the_run_folder_of_a_config_is_found() -> None:
    run = RunFolder(Path("runs/one"))
    assert RunFolder.of_config(Path("runs/one/logs/fit_0/config.yaml")) == run
    assert RunFolder.of_config(Path("experiments/base.yaml")) is None


def test_the_newest_is_the_one_written_last(tmp_path: Path) -> None:
    run, (first, second, third) = RunFolder(tmp_path), (LogFolder(tmp_path / "logs" / f"fit_{n}") for n in range(3))
    assert run.newest_config() is None
    for log, seconds in ((first, 30), (second, 20)):
        write(log.config, seconds)
        write(log.run, 100 - seconds)
    write(LogFolder(tmp_path / "logs" / "validate_0").config, 40)
    third.path.mkdir()  # an attempt without files
    assert run.newest_config("fit") == first.config
    assert run.newest_config() == tmp_path / "logs" / "validate_0" / "config.yaml"
    assert run.recorded_logs("fit") == [first, second]
    assert (first.modified, third.modified) == (70, 0)
    assert newest([tmp_path / "nothing"]) is None


def test_evaluations_of_a_job_are_jobs_in_its_folder(tmp_path: Path) -> None:
    key = JobKey("89abcdef01_seed3", "0123abcd")
    folder = JobFolder.of(tmp_path, key)
    assert folder.done == tmp_path / "89abcdef01_seed3" / "evaluations" / "0123abcd" / "done.json"


def test_jobs_come_in_the_order_of_their_completion(tmp_path: Path) -> None:
    keys = [JobKey("b_seed0"), JobKey("b_seed0", "0123"), JobKey("a_seed10")]
    for seconds, key in enumerate(keys, 1):
        write(JobFolder.of(tmp_path, key).done, seconds)
    unfinished = JobKey("z_seed0")
    JobFolder.of(tmp_path, unfinished).path.mkdir()
    for name in ("a_seed0.bak", "a_seed", "a_seed1 (copy)"):
        (tmp_path / name).mkdir()
    assert list(JobFolder.under(tmp_path)) == [unfinished, *keys]


def test_a_key_equals_its_parsed_text() -> None:
    training = JobKey.of_training("89abcdef01", 12)
    assert (training.digest, training.seed, training.own_digest) == ("89abcdef01", 12, "89abcdef01")
    evaluation = JobKey(training.training, "0123")
    assert (evaluation.digest, evaluation.seed, evaluation.own_digest) == ("89abcdef01", 12, "0123")
    for key, text in ((training, "89abcdef01_seed12"), (evaluation, "89abcdef01_seed12/evaluations/0123")):
        assert str(key) == text
        assert JobKey.parse(text) == key
    for text in ("", "89abcdef01", "89abcdef01_seed", "a_seed1/evaluations/", "a_seed1/logs/fit_0", "a/b_seed1"):
        with pytest.raises(ValueError, match=repr(text)):
            JobKey.parse(text)
