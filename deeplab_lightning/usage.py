"""Wrong usage as one sentence: the error, the nearest names, and the parser of commands with options of their own."""

import argparse
import os
import signal
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import Any, NoReturn

SAME, NEAR = 1.0, 0.65
"""How alike two names are that mean the same, and how alike they must be for one to be a slip of the other."""


class UsageError(ValueError):
    """What was asked for does not exist or makes no sense; the exit status is 2."""


class Ended(SystemExit):
    """A signal ended the command; the exit status is 128 plus its number.

    Args:
        number: the signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.status = 128 + number
        self.name = signal.Signals(number).name


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose every complaint is a UsageError; options are written out."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"allow_abbrev": False} | kwargs)

    def parse_args(self, args: Sequence[str] | None = None, namespace: None = None) -> argparse.Namespace:  # type: ignore[override]  # into a new namespace alone
        """Parse; an option that is not there is answered with the nearest."""
        arguments, rest = self.parse_known_args(args, namespace)
        if rest:
            word = rest[0].partition("=")[0]
            kind = "option" if word.startswith("-") else "place for"
            raise UsageError(f"{self.prog} has no {kind} {word}{did_you_mean(word, self.option_names())}")
        return arguments

    def option_names(self) -> list[str]:
        """All options, those of the actions included."""
        own = [name for action in self._actions for name in action.option_strings if name.startswith("--")]
        of_actions = [
            parser
            for action in self._actions
            if isinstance(action, argparse._SubParsersAction)
            for parser in action.choices.values()
        ]
        return own + [name for parser in of_actions for name in parser.option_names()]

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise UsageError(f"{message}; see `{self.prog} --help`")


def nearest(name: str, names: Iterable[str], limit: int = 3) -> list[str]:
    """The names that this one may be a slip of, the likeliest first; of dotted names the last part counts most."""
    scores = {known: _likeness(name, known) for known in names}
    needed = SAME if max(scores.values(), default=0) >= SAME else NEAR
    near = (known for known in scores if scores[known] >= needed)
    return sorted(near, key=lambda known: (-scores[known], known))[:limit]


def _likeness(name: str, known: str) -> float:
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
    """The end of a sentence that asks so, or nothing."""
    *others, last = nearest(name, names) or [""]
    return last and f"; did you mean {', '.join(others)}{' or ' if others else ''}{last}?"


def expand_home(option: str) -> str:
    """An option or a value whose `~` stands for the home folder, which no shell replaces behind `=` or in quotes."""
    name, equals, value = option.partition("=") if option.startswith("--") else ("", "", option)
    return f"{name}{equals}{os.path.expanduser(value)}"
