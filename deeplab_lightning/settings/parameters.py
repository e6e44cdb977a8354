"""The parameters of a class: their types, their defaults and their values, as jsonargparse determines them."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any

from jsonargparse import ArgumentParser, Namespace

UNSET = {"num_classes": None, "class_names": None, "in_channels": 3}
"""The parameters of a model that are taken from the data, and their values in settings that do not name them."""
FROM_DATA = tuple(UNSET)


def types_of(parser: ArgumentParser) -> dict[str, Any]:
    """The types of a parser's settings, by dotted name.

    They are read from a private attribute, because neither argparse nor jsonargparse has a public list of them.
    """
    actions = [action for action in parser._actions if action.dest.rpartition(".")[2] not in ("help", "print_config")]
    groups = {action.dest.rpartition(".")[0] for action in actions}
    return {action.dest: getattr(action, "_typehint", action.type) for action in actions if action.dest not in groups}


@cache
def parser_of(cls: type, skip: tuple[str, ...] = ()) -> ArgumentParser:
    """A parser for the parameters of a class, including those that it passes on through **kwargs.

    Args:
        cls: The class.
        skip: The parameters to leave out.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, None, skip=set(skip), fail_untyped=False)
    return parser


@cache
def parameters(cls: type, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """The types of the parameters of a class, including those that it passes on through **kwargs.

    Args:
        cls: The class.
        skip: The parameters to leave out.
    """
    return types_of(parser_of(cls, skip))


def complete(cls: type, given: Mapping[str, Any], skip: tuple[str, ...] = FROM_DATA) -> Mapping[str, Any]:
    """The values of all parameters of a class: given values in their types, and defaults.

    Args:
        cls: The class, which is not instantiated.
        given: The given values, which must be plain YAML values.
        skip: The parameters to leave out.

    Raises:
        ArgumentError: A parameter does not exist, has a value that does not fit its type, or is missing.
        TypeError, ValueError, RecursionError: A value is not plain.
    """
    return _complete(cls, json.dumps(given), skip)


@cache  # the rows of a table share most of their settings, and a parser takes milliseconds
def _complete(cls: type, given: str, skip: tuple[str, ...]) -> Mapping[str, Any]:
    return dict(parser_of(cls, skip).parse_object(json.loads(given)))


def forget_completed() -> None:
    """Clear the cache of `complete`, after the defaults of a parser have changed."""
    _complete.cache_clear()


def subclasses(base: type) -> Iterator[type]:
    """All imported classes that derive from a base class."""
    derived: list[type] = base.__subclasses__()
    for each in derived:
        yield each
        yield from subclasses(each)


def find_class(name: object, known: Mapping[str, type]) -> type | None:
    """Find a class by its short name or its import path; None where there is no such class.

    Args:
        name: The name. A value that is not a text names no class.
        known: The classes that have short names, by these names.
    """
    if not isinstance(name, str) or name in known:
        return known.get(name) if isinstance(name, str) else None
    module, _, short = name.rpartition(".")
    try:
        found = getattr(import_module(module), short)
    except (ImportError, AttributeError, TypeError, ValueError):  # the last two: a relative path, or an empty module
        return None
    return found if isinstance(found, type) else None


def instantiate(parser: ArgumentParser, settings: Namespace) -> Namespace:
    """Replace the classes in settings by instances.

    jsonargparse would report an error of a constructor as a long type error. This function raises the constructor's own
    error.

    Args:
        parser: The parser that parsed the settings.
        settings: The parsed settings.
    """
    errors: list[Exception] = []

    def construct(cls: type, *args: Any, **kwargs: Any) -> Any:
        try:
            return cls(*args, **kwargs)
        except Exception as error:
            errors.append(error)
            raise

    try:
        instances: Namespace = parser.instantiate(settings, instantiators=[(construct, object, True)])
        return instances
    except ValueError:
        if not errors:
            raise
    raise errors[-1]  # outside the except block, where the two errors would become each other's context
