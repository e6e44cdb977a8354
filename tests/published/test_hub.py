"""Names of the hub, what is fetched and pushed, and the sentence for each failure; no connection is opened."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import errors

from deeplab_lightning import load
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.published import hub
from deeplab_lightning.usage import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("alice/street-model_2.0", True),
        ("alice/street@v1.0", True),
        ("alice/street@refs/pr/3", True),
        ("street", False),
        ("alice/models/street", False),
        ("/alice/street", False),
        ("~/street", False),
        ("../street", False),
        ("alice/best.ckpt", False),
        ("alice/model.onnx", False),
        ("runs/street", False),  # a folder runs lies here
        ("runs/street@main", True),
    ],
)
def test_names_are_told_from_paths(text: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    assert hub.is_repository(text) == expected


def test_two_files_of_a_revision_are_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def snapshot(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision, tuple(allow_patterns)))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert hub.fetch("alice/street@v2") == hub.fetch("alice/street") == tmp_path
    files = ("config.json", "model.safetensors")
    assert asked == [("alice/street", "v2", files), ("alice/street", None, files)]


def answered(kind: type[Exception]) -> Exception:
    response: Any = SimpleNamespace(headers={}, request=None, status_code=404)
    return kind("404 of the hub", response=response) if issubclass(kind, errors.HfHubHTTPError) else kind("no route")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (errors.RepositoryNotFoundError, "no such model"),
        (errors.GatedRepoError, "asked for access"),
        (errors.RevisionNotFoundError, "no such revision"),
        (errors.LocalEntryNotFoundError, "cannot be reached"),
        (errors.OfflineModeIsEnabled, "no route"),
        (TimeoutError, "no route"),
    ],
)
def test_failures_are_one_sentence(kind: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise answered(kind)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(DataError, match=rf"^alice/street@v3: .*{words}") as raised:
        load("alice/street@v3")
    assert len(str(raised.value).splitlines()) == 1


class FakeApi:
    """The hub's interface; it keeps what it was asked for, or fails."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.error: Exception | None = None

    def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> None:
        if self.error:
            raise self.error
        self.asked.append((name, private, exist_ok))

    def create_commit(self, name: str, operations: list[Any], *, commit_message: str) -> Any:
        self.asked.append((name, {each.path_in_repo: each.path_or_fileobj for each in operations}))
        return SimpleNamespace(commit_url="https://hub/alice/street/commit/1")


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    fake = FakeApi()
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: fake)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "secret")
    return fake


def test_files_are_pushed_in_one_commit(api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    address = hub.push({"config.json": tmp_path / "config.json", "README.md": b"# card"}, "alice/street", private=True)
    assert address == "https://hub/alice/street/commit/1"
    files = {"config.json": str(tmp_path / "config.json"), "README.md": b"# card"}
    assert api.asked == [("alice/street", True, True), ("alice/street", files)]


def test_pushing_needs_a_name_and_a_token(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("street", "alice/street@v1", "alice/models/street"):
        with pytest.raises(UsageError, match=name):
            hub.push({}, name)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(UsageError, match="HF_TOKEN"):
        hub.push({}, "alice/street")
    assert not api.asked


def test_a_refused_push_is_one_sentence(api: FakeApi) -> None:
    api.error = ConnectionError("no route\nto the host")
    with pytest.raises(DataError, match=r"^alice/street: .*not pushed.*no route\)$"):
        hub.push({}, "alice/street")
