"""Settings as the user wrote them, on the command line and in the files that it names."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jsonargparse import Namespace, get_loader

from deeplab_lightning.usage import UsageError, did_you_mean

CONFIG = ("-c", "--config")
"""The two names of the option that takes a file."""

FLAGS = ("--help", "--print_config")
"""The options that take no value."""


class Given(NamedTuple):
    """A setting as the user wrote it.

    Args:
        file: The file that contains the setting; empty for the command line.
        name: The name of the setting. It is dotted on the command line.
        value: The value of the setting. It is a text on the command line.
    """

    file: str
    name: str
    value: Any


def given_by(options: Sequence[str]) -> list[Given]:
    """Read the settings of a command line and of its files, in order.

    Args:
        options: The words of the command line after the command.

    Raises:
        UsageError: A file cannot be read, a word belongs to no option, or an option lacks its value.
    """
    given: list[Given] = []
    words: Iterator[str] = iter(options)
    while (word := next(words, None)) is not None:
        name, equals, value = word.partition("=")
        if not name.startswith("-"):
            raise UsageError(
                f"{word!r} does not belong to an option; write a setting as --model.lr 0.1, a file as -c FILE, and a "
                'list as one value: --data.crop_size "[128, 128]"'
            )
        if _is_flag(name):
            if name.endswith(".help") and not equals:
                following = next(words, None)
                if following is not None and following.startswith("-"):  # no name of a class, which may follow
                    words = chain([following], words)
            continue
        if not equals:
            value = next(words, "--")
            if value.startswith("-") and not _is_number(value):
                raise UsageError(f"{name} needs a value{did_you_mean(name, FLAGS) if name.startswith('--') else ''}")
        if name in CONFIG:
            given += [Given(value, key, each) for key, each in read_settings(value).items()]
        elif not name.startswith("--"):
            raise UsageError(f"there is no option {name}; --help lists them")
        else:
            given.append(Given("", name.removeprefix("--"), value))
    return given


def check_models(given: Iterable[Given]) -> None:
    """Check that all files are for one model. Otherwise the second would silently keep settings of the first.

    Args:
        given: The settings of a command line and of its files.

    Raises:
        UsageError: Two files name different models.
    """
    first: tuple[str, str] | None = None
    for file, name, value in given:
        if file and name == "model" and isinstance(value, Mapping) and isinstance(value.get("class_path"), str):
            own = value["class_path"].rpartition(".")[2]
            if first is not None and first[1] != own:
                raise UsageError(f"{first[0]} is for a {first[1]} and {file} for a {own}; use one of them")
            first = file, own


def expand_homes(config: Any) -> Any:
    """Replace a leading `~` by the home folder in all values, like a shell. A Namespace is changed in place."""
    if isinstance(config, str):
        return os.path.expanduser(config)
    if isinstance(config, (list, tuple)):
        return type(config)(map(expand_homes, config))
    if isinstance(config, Mapping):
        return {key: expand_homes(value) for key, value in config.items()}
    if isinstance(config, Namespace):
        for key, value in vars(config).items():
            setattr(config, key, expand_homes(value))
    return config


def _is_flag(name: str) -> bool:
    return name in ("-h", *FLAGS) or name.endswith(".help")


def _is_number(text: str) -> bool:
    with suppress(ValueError):
        float(text)
        return True
    return False


def read_settings(path: str | Path) -> dict[str, Any]:
    """Read the settings in a YAML file.

    Args:
        path: The path of the file.

    Raises:
        UsageError: There is no such file, or it holds no settings. For invalid YAML, the message has line and column.
    """
    path = Path(path)
    if path.is_dir():
        raise UsageError(f"{path}: it is a folder; -c takes a YAML file")
    if not path.is_file():
        near = did_you_mean(path.stem, (file.stem for file in path.parent.glob("*.yaml")))
        raise UsageError(f"{path}: no such file{near}")
    try:
        text = path.read_text(encoding="utf-8")
        content = get_loader("yaml")(text)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: it is not a text file in UTF-8") from error
    except yaml.MarkedYAMLError as error:
        raise UsageError(f"{path}{_fault(text, error)}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        found = "it is empty" if content is None else "it holds no settings"
        raise UsageError(f"{path}: {found}; write settings as in `trainer: {{max_steps: 100}}`")
    return content


def _fault(text: str, error: Any) -> str:
    mark = error.problem_mark
    if mark is None:
        return f": {error.problem}"
    line = (*text.splitlines(), "")[mark.line][mark.column :]
    tab = "there is a tab; indent YAML with spaces"
    problem = tab if line.startswith("\t") else f"{error.problem}; check the indentation, colons and brackets"
    return f", line {mark.line + 1}, column {mark.column + 1}: {problem}"
