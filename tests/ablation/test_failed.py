from pathlib import Path

from deeplab_lightning.ablation.failed import only_failed
from deeplab_lightning.ablation.job import jobs_of
from deeplab_lightning.ablation.outcomes import Outcome, State
from deeplab_lightning.ablation.sweep import parts_of
from tests.ablation.test_runner import OTHERS, plan

FAILED, DONE = Outcome(State.FAILED, "killed by SIGKILL"), Outcome()


def test_only_what_failed_and_what_needs_it_is_left(tmp_path: Path) -> None:
    whole = plan(tmp_path, OTHERS, seeds=[0, 1])
    keys = {f"{job.command} {job.rows_name} {job.training.seed}": job.key for job in jobs_of(whole)}

    def left(*failed: str) -> list[str]:
        outcomes = {key: FAILED if name in failed else DONE for name, key in keys.items() if name.endswith("0")}
        return [
            f"{job.command} {job.rows_name} {job.training.seed}"
            for job in jobs_of(*only_failed([whole], outcomes | {keys[name]: FAILED for name in failed}))
        ]

    assert left("validate flip 0") == ["fit plain and 1 more 0", "validate flip 0"]
    assert left("fit plain and 1 more 1") == [
        f"{job} 1" for job in ("fit plain and 1 more", "validate plain", "validate flip")
    ]
    assert left("fit next 0") == ["fit slow 0", "fit next 0", "validate next 0"]
    assert left("fit slow 0") == ["fit slow 0", "validate slow 0", "fit next 0", "validate next 0"]
    assert left() == []


def test_launchers_get_the_failed_rows_and_seeds(tmp_path: Path) -> None:
    whole = plan(tmp_path, seeds=[0, 1])
    failed = next(job for job in jobs_of(whole) if job.rows_name == "flip" and job.training.seed == 1)
    (part,) = parts_of(only_failed([whole], {failed.key: FAILED}))
    assert (part.rows, part.seed) == (("flip",), 1)
    assert len(whole.trainings[0].evaluations) == 2  # the whole plan is as it was
