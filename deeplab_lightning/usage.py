"""Wrong usage said in one sentence: its error, the nearest names, and the parser of commands with own options."""

import argparse
import os
import signal
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import Any, NoReturn

SAME, NEAR = 1.0, 0.65
"""Likeness of two names that mean the same, and the least likeness of a name and a slip of it."""


class UsageError(ValueError):
    """An option, a name or a value that does not exist or makes no sense; the exit status is 2."""


class Ended(SystemExit):
    """The end of a command by a signal; the exit status is 128 plus its number.

    Args:
        number: The signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.status = 128 + number
        self.name = signal.Signals(number).name


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises a UsageError for every mistake and takes no shortened options.

    Args:
        kwargs: Arguments of `ArgumentParser`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"allow_abbrev": False} | kwargs)

    def parse_args(self, args: Sequence[str] | None = None, namespace: None = None) -> argparse.Namespace:  # type: ignore[override]  # into a new namespace alone
        """Parse all words.

        Args:
            args: The words; those of the command line when not given.
            namespace: None; the results always go into a new one.

        Raises:
            UsageError: A word is wrong; of an option that does not exist the nearest one is named.
        """
        arguments, rest = self.parse_known_args(args, namespace)
        if rest:
            word = rest[0].partition("=")[0]
            kind = "option" if word.startswith("-") else "place for"
            raise UsageError(f"{self.prog} has no {kind} {word}{did_you_mean(word, self.option_names())}")
        return arguments

    def option_names(self) -> list[str]:
        """The names of all long options, those of subcommands included."""
        own = [name for action in self._actions for name in action.option_strings if name.startswith("--")]
        of_actions = [
            parser
            for action in self._actions
            if isinstance(action, argparse._SubParsersAction)
            for parser in action.choices.values()
        ]
        return own + [name for parser in of_actions for name in parser.option_names()]

    def error(self, message: str) -> NoReturn:
        """Raise a UsageError, where argparse prints the usage and exits."""
        raise UsageError(f"{message}; see `{self.prog} --help`")


def nearest(name: str, names: Iterable[str], limit: int = 3) -> list[str]:
    """The names that one may be a slip of, the likeliest first; of dotted names the last part counts most.

    Args:
        name: The name that somebody wrote.
        names: The names that exist.
        limit: The largest number of answers.
    """
    scores = {known: _likeness(name, known) for known in names}
    needed = SAME if max(scores.values(), default=0) >= SAME else NEAR
    near = (known for known in scores if scores[known] >= needed)
    return sorted(near, key=lambda known: (-scores[known], known))[:limit]


def _likeness(name: str, known: str) -> float:
    # a leaf that is the same, or the initials of the other (bs, batch_size), means the same; one that begins the other
    # (batch, batch_size) is next; all else is as alike as its letters. The whole name only decides between equals
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
    """The end of a sentence that asks for the nearest names; empty where none is near.

    Args:
        name: The name that somebody wrote.
        names: The names that exist.
    """
    near = nearest(name, names)
    if not near:
        return ""
    *others, last = near
    return f"; did you mean {', '.join(others)}{' or ' if others else ''}{last}?"


def expand_home(option: str) -> str:
    """A word of the command line with the home folder for `~`, which no shell replaces behind `=` or in quotes.

    Args:
        option: An option, with or without `=VALUE`, or a value.
    """
    name, equals, value = option.partition("=") if option.startswith("--") else ("", "", option)
    return f"{name}{equals}{os.path.expanduser(value)}"
