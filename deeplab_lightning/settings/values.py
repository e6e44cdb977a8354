"""The check of a setting's value against its type, with an error that describes the type in words."""

from argparse import ArgumentError
from collections.abc import Iterable, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from jsonargparse import ArgumentParser

from deeplab_lightning.usage import UsageError, nearest

WORDS = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a text", "texts"),
    bool: ("true or false", "true or false"),
    NoneType: ("null", "null"),
}
"""The types in words, in the singular and the plural."""
MAX_LENGTH = 80
"""The limit on the characters of a value in an error."""


def shown(value: object) -> str:
    """The representation of a value in an error, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print integers with thousands of digits
        text = "a number that is too large"
    return text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]}..."


def check_value(name: str, hint: Any, value: Any) -> None:
    """Check a value against a type. A text is parsed like on the command line, other values like those of a file.

    Args:
        name: The name of the setting, for the error.
        hint: The type of the setting; None where it takes any value.
        value: The value.

    Raises:
        UsageError: The value does not fit the type. The message names the nearest fitting value, if there is one.
    """
    if hint is None or _accepts(hint, value):
        return
    text = "null" if value is None else value if isinstance(value, str) else shown(value)
    choices = [str(choice) for choice in _choices(hint)]
    others = [*nearest(text, choices, 1), text.strip("'\""), text.lower(), f"[{text}]", f"[{text}, {text}]"]
    fitting = next((other for other in others if other != text and _accepts(hint, other)), None)
    choice = "" if fitting is None else f"; did you mean {fitting}?"
    raise UsageError(f"{name} takes {_takes(hint)}, got {text if value is None else shown(value)}{choice}")


def _accepts(hint: Any, value: Any) -> bool:
    if value is None or value == "null":  # jsonargparse takes null for any type
        return hint is Any or NoneType in get_args(hint)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=hint)
    try:
        if isinstance(value, str):
            parser.parse_args([f"--value={value}"])
        else:
            parser.parse_object({"value": value})
    except ArgumentError:
        return False
    return True


def _choices(hint: Any) -> Iterable[Any]:
    if get_origin(hint) is Literal:
        return get_args(hint)
    return [choice for part in get_args(hint) if get_origin(hint) in (Union, UnionType) for choice in _choices(part)]


def _takes(hint: Any, plural: bool = False) -> str:
    """The values that a type accepts, in words."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint in WORDS:
        return WORDS[hint][plural]
    each_of = parts if origin in (Union, UnionType) else (hint,)
    if all(get_origin(each) is Literal or each is NoneType for each in each_of):
        return f"one of {', '.join(dict.fromkeys(map(str, _choices(hint))))}"
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_takes(part) for part in sorted(parts, key=lambda part: part is NoneType)))
    if origin is tuple:
        return f"{len(parts)} {_takes(parts[0], plural=True)} in brackets"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"names with {_takes(parts[1], plural=True)}"
    return f"a list of {_takes(parts[0], plural=True)}" if parts else getattr(hint, "__name__", str(hint))


def item_type(hint: Any) -> Any:
    """The type of a mapping's values; None where the type is not a mapping."""
    if isinstance(get_origin(hint), type) and issubclass(get_origin(hint), Mapping):
        return get_args(hint)[1]
    return next((own for part in get_args(hint) if (own := item_type(part)) is not None), None)
