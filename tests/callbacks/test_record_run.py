import subprocess
from pathlib import Path

import pytest

import deeplab_lightning
from deeplab_lightning.callbacks.record_run import git_state


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that stands in for that of the code."""
    monkeypatch.setattr(deeplab_lightning, "__file__", str(tmp_path / "deeplab_lightning" / "__init__.py"))
    return tmp_path


def test_the_commit_and_whether_files_differ_from_it(checkout: Path) -> None:
    git = ["git", "-C", str(checkout), "-c", "user.name=a", "-c", "user.email=a@b"]
    (checkout / "file").write_text("one")
    for command in (["init", "--quiet"], ["add", "file"], ["commit", "--quiet", "-m", "one"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert git_state() == {"commit": head, "dirty": False}
    (checkout / "file").write_text("two")
    assert git_state() == {"commit": head, "dirty": True}


def test_code_outside_a_checkout_has_no_commit(checkout: Path) -> None:
    assert git_state() is None
    (checkout / ".git").mkdir()  # an empty one
    assert git_state() is None
