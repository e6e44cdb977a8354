from pathlib import Path
from typing import Any

import pytest
import wandb
from wandb.errors import CommError

from deeplab_lightning.ablation.outcomes import read_wandb


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
