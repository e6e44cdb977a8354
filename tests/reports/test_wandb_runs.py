"""Runs read from Weights & Biases. The runs that a table records there are in tests/integration/test_wandb.py."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
from wandb.errors import CommError

from deeplab_lightning.ablation.older import chosen_keys, describe_older
from deeplab_lightning.ablation.outcomes import State
from deeplab_lightning.ablation.plan import plan_table
from deeplab_lightning.ablation.protocol import PROTOCOL
from deeplab_lightning.ablation.table import read_table
from deeplab_lightning.reports.wandb_runs import read_runs, read_wandb
from deeplab_lightning.run_folder import JobKey
from tests.ablation.tables import write_tree


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine without an account in W&B."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    return monkeypatch


def test_without_a_key(key: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConnectionError, match="WANDB_API_KEY"):
        read_wandb("mine")


@pytest.mark.parametrize("failure", [CommError("no such\nproject"), ValueError("no such project")])
def test_a_project_that_cannot_be_read(key: pytest.MonkeyPatch, failure: Exception) -> None:
    class Api:
        def runs(self, project: str, **keywords: Any) -> Any:
            yield from ()
            raise failure  # the server is asked when the first run is wanted

    key.setattr(wandb, "login", lambda **keywords: True)
    key.setattr(wandb, "Api", Api)
    with pytest.raises(ConnectionError, match=r"team/mine .*\(no such project\)"):
        read_wandb("team/mine")


def test_runs_of_wandb_have_their_recorded_protocol(tmp_path: Path) -> None:
    (training,) = plan_table(read_table(write_tree(tmp_path, tmp_path)), "paper").trainings

    def run(work: JobKey, **wandb: Any) -> SimpleNamespace:
        config = {"wandb": {"work": str(work)} | wandb}
        return SimpleNamespace(config=config, summary_metrics={"seconds": 5.0}, state="finished")

    first = JobKey.of_training(training.asked[0], 0)  # by what the table gives, as the first protocol named them
    outcomes = read_runs([run(work=first)])
    assert (outcomes[first].protocol, chosen_keys(training, outcomes)) == (1, {0: first})
    assert describe_older(outcomes[first], training.resolved).startswith(f"protocol 1 -> {PROTOCOL}: ")
    later = JobKey.of_training("0123456789", 0)
    outcomes = read_runs([run(work=first), run(work=later, asked=training.asked, protocol=PROTOCOL)])
    assert chosen_keys(training, outcomes) == {0: later}
    outcomes |= read_runs([run(work=training.key, asked=training.asked, protocol=PROTOCOL)])
    assert chosen_keys(training, outcomes) == {0: training.key}


@pytest.mark.parametrize("config", [{}, {"wandb": None}, {"wandb": {"work": None}}, {"wandb": {"work": "mine"}}])
def test_a_run_of_no_table_is_left_out(config: dict[str, Any]) -> None:
    assert read_runs([SimpleNamespace(config=config, summary_metrics={"seconds": 5.0}, state="finished")]) == {}


@pytest.mark.parametrize("evaluations", [[{"identity": {}, "scores": {"miou": 0.5}}], [{}], [1], 1])
def test_a_run_with_a_damaged_record_hides_no_other(evaluations: object) -> None:
    runs = []
    for digest, content in (("0123456789", evaluations), ("abcdef0123", [])):
        config = {"wandb": {"work": f"0123456789_seed0/evaluations/{digest}"}}
        summary = {"seconds": 5.0, "evaluations": content}
        runs.append(SimpleNamespace(id=digest, config=config, summary_metrics=summary, state="finished"))
    first, second = read_runs(runs).values()
    assert first.state is State.UNREADABLE
    assert "0123456789" in first.reason
    assert second.is_done
