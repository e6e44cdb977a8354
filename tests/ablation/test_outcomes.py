import json
from pathlib import Path

import pytest

from deeplab_lightning.ablation.outcomes import Outcome, State, read_folder
from deeplab_lightning.ablation.protocol import PROTOCOL
from deeplab_lightning.run_folder import JobFolder, JobKey
from deeplab_lightning.scores import Score, ScoreName
from tests.ablation.tables import write_runs, write_tree
from tests.test_identity import IDENTITY

SCORE = Score(ScoreName("val", "miou", refined=True), 0.25, IDENTITY.as_dict())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The runs of two seeds of a table."""
    write_runs(write_tree(tmp_path / "experiments", tmp_path), tmp_path / "runs", 2)
    return tmp_path / "runs"


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        ("fit", Outcome(seconds=3.5, num_devices=8, batch_norm="of the batch", asked=["0123"])),
        ("validate", Outcome(seconds=3.5, scores=[SCORE], asked=["0123", "4567"])),
        ("validate", Outcome(seconds=3.5, scores=[])),
    ],
)
def test_an_outcome_is_read_as_it_was_written(command: str, outcome: Outcome, tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    outcome.write(folder, command, {"seed": 0})
    assert Outcome.read(folder) == outcome
    assert json.loads(folder.done.read_text())["protocol"] == PROTOCOL


def test_a_tarball_is_found_after_its_folder_was_moved(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    Outcome(submission=str(before / "logs" / "map.tar")).write(JobFolder(before), "predict", {})
    before.rename(after)
    assert Outcome.read(JobFolder(after)).submission == str(after / "logs" / "map.tar")


def test_a_failure_is_kept_with_its_reason(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    assert str(Outcome.read(folder)) == "unfinished"
    Outcome(State.FAILED, "killed by SIGKILL").write(folder, "fit", {"seed": 0})
    assert Outcome.read(folder) == Outcome(State.FAILED, "killed by SIGKILL")
    assert str(Outcome.read(folder)) == "failed: killed by SIGKILL"


@pytest.mark.parametrize("name", ["done.json", "failed.json"])
@pytest.mark.parametrize("content", ["", '{"rows": ["pl', "[]", "{}"])
def test_an_unreadable_file_is_named_and_others_are_still_read(root: Path, name: str, content: str) -> None:
    (folder,) = root.glob("*_seed1")
    (folder / "done.json").unlink()
    (folder / name).write_text(content)
    outcomes = read_folder(root)
    damaged = outcomes.pop(JobKey(folder.name))
    assert damaged == Outcome(State.UNREADABLE, str(folder / name))
    assert len(outcomes) == 5
    assert all(outcome.is_done for outcome in outcomes.values())
