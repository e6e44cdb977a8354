from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb
from wandb.errors import CommError

from deeplab_lightning.ablation.outcomes import (
    chosen_keys,
    describe_older,
    keys_by_seed,
    read_folder,
    read_runs,
    read_wandb,
)
from deeplab_lightning.ablation.plan import plan_table
from deeplab_lightning.ablation.protocol import PROTOCOL
from deeplab_lightning.ablation.table import read_table
from tests.ablation.tables import write_runs, write_tree


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine without an account in W&B."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    return monkeypatch


def test_without_a_key(key: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConnectionError, match="W&B has no API key here: `wandb login` or WANDB_API_KEY"):
        read_wandb("mine")


@pytest.mark.parametrize("failure", [CommError("no such\nproject"), ValueError("no such project")])
def test_a_project_that_cannot_be_read(key: pytest.MonkeyPatch, failure: Exception) -> None:
    class Api:
        def runs(self, project: str, **keywords: Any) -> Any:
            yield from ()
            raise failure  # the server is asked when the first run is wanted

    key.setattr(wandb, "login", lambda **keywords: True)
    key.setattr(wandb, "Api", Api)
    with pytest.raises(ConnectionError, match=r"W&B's project team/mine cannot be read \(no such project\)"):
        read_wandb("team/mine")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The runs of two seeds of a table."""
    write_runs(write_tree(tmp_path / "experiments", tmp_path), tmp_path / "runs", 2)
    return tmp_path / "runs"


@pytest.mark.parametrize("name", ["done.json", "failed.json"])
@pytest.mark.parametrize("content", ["", '{"rows": ["pl', "[]", "{}"])
def test_a_file_that_cannot_be_read_is_named_and_hides_nothing_else(root: Path, name: str, content: str) -> None:
    (folder,) = root.glob("*_seed1")
    (folder / "done.json").unlink()
    (folder / name).write_text(content)
    states = {key: outcome.state for key, outcome in read_folder(root).items()}
    assert states.pop(folder.name) == f"unreadable: {folder / name}"
    assert len(states) == 5
    assert set(states.values()) == {""}


def test_folders_beside_those_of_the_trainings(root: Path) -> None:
    (training,) = plan_table(read_table(root.parent / "experiments" / "ablations" / "tiny.yaml"), "paper").trainings
    digest = training.name.removesuffix("_seed0")
    (root / f"{digest}_seed0").rename(root / f"{digest}_seed10")
    for name in (f"{digest}_seed0.bak", f"{digest}_seed", f"{digest}_seed1 (copy)"):
        (root / name).mkdir()
    assert keys_by_seed(training, read_folder(root)) == {1: f"{digest}_seed1", 10: f"{digest}_seed10"}


def test_runs_of_wandb_are_of_the_protocol_that_they_say(root: Path) -> None:
    (training,) = plan_table(read_table(root.parent / "experiments" / "ablations" / "tiny.yaml"), "paper").trainings

    def run(**wandb: Any) -> SimpleNamespace:
        return SimpleNamespace(config={"wandb": wandb}, summary_metrics={"seconds": 5.0}, state="finished")

    first = f"{training.asked[0]}_seed0"  # by what the table gives, as the first protocol named them
    outcomes = read_runs([run(work=first)])
    assert (outcomes[first].protocol, chosen_keys(training, outcomes)) == (1, {0: first})
    assert describe_older(outcomes[first], training.resolved).startswith(f"protocol 1 -> {PROTOCOL}: ")
    later = "0123456789_seed0"
    outcomes = read_runs([run(work=first), run(work=later, asked=training.asked, protocol=PROTOCOL)])
    assert chosen_keys(training, outcomes) == {0: later}
    outcomes |= read_runs([run(work=training.name, asked=training.asked, protocol=PROTOCOL)])
    assert chosen_keys(training, outcomes) == {0: training.name}
