from pathlib import Path

from deeplab_lightning.run_folder import JobFolder, RunFolder


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


def test_evaluations_of_a_job_are_jobs_in_its_folder(tmp_path: Path) -> None:
    job = JobFolder(tmp_path)
    evaluation = job.evaluation("0123abcd")
    evaluation.path.mkdir(parents=True)
    assert job.evaluations() == [evaluation]
    assert evaluation.done == tmp_path / "evaluations" / "0123abcd" / "done.json"
