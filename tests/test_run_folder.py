import os
from pathlib import Path

import pytest

from deeplab_lightning.run_folder import JobFolder, JobKey, LogFolder, RunFolder, newest


def write(path: Path, seconds: int) -> Path:
    """Create an empty file with the given modification time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    os.utime(path, (seconds, seconds))
    return path


def test_logs_are_found_by_command_and_numbered(tmp_path: Path) -> None:
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


def test_the_newest_file_is_the_last_written(tmp_path: Path) -> None:
    run, (first, second, third) = RunFolder(tmp_path), (LogFolder(tmp_path / "logs" / f"fit_{n}") for n in range(3))
    assert run.newest_config() is None
    for log, seconds in ((first, 30), (second, 20)):
        write(log.config, seconds)
        write(log.run, 100 - seconds)
    write(LogFolder(tmp_path / "logs" / "validate_0").config, 40)
    third.path.mkdir()  # an attempt that left nothing
    assert run.newest_config("fit") == first.config
    assert run.newest_config() == tmp_path / "logs" / "validate_0" / "config.yaml"
    assert run.recorded_logs("fit") == [first, second]
    assert (first.modified, third.modified) == (70, 0)
    assert newest([tmp_path / "nothing"]) is None


def test_evaluations_of_a_job_are_jobs_in_its_folder(tmp_path: Path) -> None:
    key = JobKey("89abcdef01_seed3", "0123abcd")
    folder = JobFolder.of(tmp_path, key)
    assert folder.done == tmp_path / "89abcdef01_seed3" / "evaluations" / "0123abcd" / "done.json"


def test_the_records_of_a_job_are_without_checkpoints_locks_and_evaluations(tmp_path: Path) -> None:
    key = JobKey("89abcdef01_seed3")
    folder, evaluation = (JobFolder.of(tmp_path, each) for each in (key, JobKey(key.training, "0123abcd")))
    log = folder.new_log("fit")
    records = [folder.config, folder.done, folder.log, log.metrics, log.panels / "val" / "a.png"]
    checkpoints = [folder.best, folder.last, folder.previous]
    kept = [evaluation.done, folder.lock, folder.fit_lock, folder.wandb / "offline-run" / "run.wandb"]
    for path in [*records, *checkpoints, *kept]:
        write(path, 1)
    assert folder.records() == sorted(records)
    folder.clear()
    assert [path for path in (*records, *checkpoints) if path.exists()] == []
    assert all(path.exists() for path in kept)
    folder.clear()  # also where there is nothing


def test_jobs_are_in_the_order_of_their_end(tmp_path: Path) -> None:
    keys = [JobKey("b_seed0"), JobKey("b_seed0", "0123"), JobKey("a_seed10")]
    for seconds, key in enumerate(keys, 1):
        write(JobFolder.of(tmp_path, key).done, seconds)
    unfinished = JobKey("z_seed0")
    JobFolder.of(tmp_path, unfinished).path.mkdir()
    for name in ("a_seed0.bak", "a_seed", "a_seed1 (copy)"):
        (tmp_path / name).mkdir()
    assert list(JobFolder.under(tmp_path)) == [unfinished, *keys]


def test_keys_are_parsed_from_their_text() -> None:
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
