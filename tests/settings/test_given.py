"""Settings as the user wrote them, on the command line and in files."""

from pathlib import Path

import pytest
from jsonargparse import Namespace

from deeplab_lightning.settings.given import Given, check_models, expand_homes, given_by, read_settings
from deeplab_lightning.usage import UsageError


def test_settings_come_in_their_order_with_the_file_that_has_them(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("trainer: {max_steps: 3}\nmodel: {class_path: A}\n")
    options = ["--model.lr=0.1", "-c", str(file), "--data.shift", "-3", "--print_config", f"--config={file}"]
    of_file = [Given(str(file), "trainer", {"max_steps": 3}), Given(str(file), "model", {"class_path": "A"})]
    assert given_by(options) == [Given("", "model.lr", "0.1"), *of_file, Given("", "data.shift", "-3"), *of_file]


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["3"], "'3'"),
        (["--data.crop_size", "128", "128"], "'128'"),
        (["--model.lr"], "--model.lr"),
        (["--model.lr", "--model.frozen"], "--model.lr"),
        (["-x", "3"], "-x"),
    ],
)
def test_invalid_words_are_named(options: list[str], part: str) -> None:
    with pytest.raises(UsageError, match=part):
        given_by(options)


FILES = {
    b"": "empty",
    b"- a\n": "no settings",
    b"a: [1\n": "line 2, column 1",
    b"a:\n\tb: 1\n": "line 2, column 1.*tab",
    b"\x89PNG\xff": "UTF-8",
}


@pytest.mark.parametrize("content", FILES)
def test_a_file_without_settings_is_named(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "smoke.yaml"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=f"smoke.yaml.*{FILES[content]}"):
        read_settings(file)


def test_a_missing_file_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "smoke.yaml").touch()
    with pytest.raises(UsageError, match="smok.yaml.*smoke"):
        read_settings(tmp_path / "smok.yaml")
    with pytest.raises(UsageError, match=f"{tmp_path}.*folder"):
        read_settings(tmp_path)


def test_numbers_are_read_as_the_command_line_reads_them(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("lr: 1e-3\n")  # a text by the rules of YAML 1.1
    assert read_settings(file) == {"lr": 0.001}


def test_files_of_two_models_are_refused() -> None:
    one, same = Given("a.yaml", "model", {"class_path": "A"}), Given("b.yaml", "model", {"class_path": "package.A"})
    other = Given("c.yaml", "model", {"class_path": "B"})
    check_models([one, same, Given("d.yaml", "model", {"init_args": {"lr": 1}}), Given("", "model", "B")])
    with pytest.raises(UsageError, match=r"b\.yaml.* A .*c\.yaml.* B"):
        check_models([one, same, other])


def test_tildes_are_expanded_in_all_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    config = Namespace(a="~/x", b={"c": ["~/y", 3], "d": ("~/z", None)}, e="a~b")  # type: ignore[no-untyped-call]
    assert expand_homes(config).as_dict() == {
        "a": "/home/me/x",
        "b": {"c": ["/home/me/y", 3], "d": ("/home/me/z", None)},
        "e": "a~b",
    }
