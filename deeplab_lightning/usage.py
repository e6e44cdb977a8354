"""The errors for wrong usage, the search for the nearest valid names, and the argument parser of the commands."""

import argparse
import os
import signal
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import Any, NoReturn

SAME, NEAR = 1.0, 0.65
"""The similarity of two names that mean the same, and the minimum similarity of a name and a misspelling of it."""


class UsageError(ValueError):
    """An option, a name or a value that does not exist or is not valid. The exit status is 2."""


class Ended(SystemExit):
    """The end of a command by a signal. The exit status is 128 plus the number of the signal.

    Args:
        number: The number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.status = 128 + number
        self.name = signal.Signals(number).name


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises a UsageError for every mistake and does not accept abbreviated options.

    Args:
        kwargs: The arguments of `ArgumentParser`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"allow_abbrev": False} | kwargs)

    def parse_args(self, args: Sequence[str] | None = None, namespace: None = None) -> argparse.Namespace:  # type: ignore[override]  # into a new namespace alone
        """Parse all words.

        Args:
            args: The words to parse; None for those of the command line.
            namespace: Always None, because the results go into a new namespace.

        Raises:
            UsageError: A word is wrong. For an unknown option, the message suggests the nearest ones.
        """
        arguments, rest = self.parse_known_args(args, namespace)
        if rest:
            word = rest[0].partition("=")[0]
            kind = "option" if word.startswith("-") else "place for"
            raise UsageError(f"{self.prog} has no {kind} {word}{did_you_mean(word, self.option_names())}")
        return arguments

    def option_names(self) -> list[str]:
        """The names of all long options, including those of subcommands."""
        own = [name for action in self._actions for name in action.option_strings if name.startswith("--")]
        of_actions = [
            parser
            for action in self._actions
            if isinstance(action, argparse._SubParsersAction)
            for parser in action.choices.values()
        ]
        return own + [name for parser in of_actions for name in parser.option_names()]

    def error(self, message: str) -> NoReturn:
        """Raise a UsageError, whereas argparse would print the usage and exit."""
        raise UsageError(f"{message}; see `{self.prog} --help`")


def count(text: str) -> int:
    """Parse a number of at least 1, as the type of an option.

    Args:
        text: The word of the command line.

    Raises:
        ValueError: It is no whole number of at least 1.
    """
    number = int(text)
    if number < 1:
        raise ValueError(f"{text} is below 1")
    return number


def nearest(name: str, names: Iterable[str], limit: int = 3) -> list[str]:
    """The existing names that a name may be a misspelling of, the most similar first.

    The last part of dotted names counts most.

    Args:
        name: The name that the user wrote.
        names: The names that exist.
        limit: The maximum number of names to return.
    """
    scores = {known: _similarity(name, known) for known in names}
    needed = SAME if max(scores.values(), default=0) >= SAME else NEAR
    near = (known for known in scores if scores[known] >= needed)
    return sorted(near, key=lambda known: (-scores[known], known))[:limit]


def _similarity(name: str, known: str) -> float:
    # Equal last parts, and a last part that is the initials of the other (bs, batch_size), mean the same. A last part
    # that is the beginning of the other (batch, batch_size) comes next. Otherwise the letters decide. The whole dotted
    # name only breaks ties.
    leaf, own = name.rpartition(".")[2].lower(), known.rpartition(".")[2].lower()
    whole = SequenceMatcher(None, name, known).ratio() / 10
    if own in (leaf, _initials(leaf)) or leaf == _initials(own):
        return SAME + whole
    if own.startswith(f"{leaf}_"):
        return SAME - 0.2 + whole
    return SequenceMatcher(None, leaf, own).ratio() * (SAME - 0.1) + whole


def _initials(name: str) -> str:
    return "".join(word[:1] for word in name.split("_"))


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The end of an error message that suggests the nearest names; empty where none is near.

    Args:
        name: The name that the user wrote.
        names: The names that exist.
    """
    near = nearest(name, names)
    if not near:
        return ""
    *others, last = near
    return f"; did you mean {', '.join(others)}{' or ' if others else ''}{last}?"


def expand_home(option: str) -> str:
    """Replace `~` by the home folder in a word of the command line. Shells do not do so after `=` or in quotes.

    Args:
        option: The word: an option, with or without `=VALUE`, or a value.
    """
    name, equals, value = option.partition("=") if option.startswith("--") else ("", "", option)
    return f"{name}{equals}{os.path.expanduser(value)}"
