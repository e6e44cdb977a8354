"""The parameters of a class: their types and defaults, and how they are filled in. jsonargparse knows them."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any

from jsonargparse import ArgumentParser, Namespace

FROM_DATA = ("num_classes", "class_names")
"""The parameters of a model that follow from the data."""


def types_of(parser: ArgumentParser) -> dict[str, Any]:
    """The types of a parser's settings by dotted name.

    They are read from the parser's actions, which are private: neither argparse nor jsonargparse lists them otherwise.
    """
    actions = [action for action in parser._actions if action.dest.rpartition(".")[2] not in ("help", "print_config")]
    groups = {action.dest.rpartition(".")[0] for action in actions}
    return {action.dest: getattr(action, "_typehint", action.type) for action in actions if action.dest not in groups}


@cache
def parser_of(cls: type, skip: tuple[str, ...] = ()) -> ArgumentParser:
    """A parser of the parameters of a class, those included that it hands on to others.

    Args:
        cls: The class.
        skip: Parameters that are left out.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, None, skip=set(skip), fail_untyped=False)
    return parser


@cache
def parameters(cls: type, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """The parameters of a class with their types, those included that it hands on to others.

    Args:
        cls: The class.
        skip: Parameters that are left out.
    """
    return types_of(parser_of(cls, skip))


def complete(cls: type, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """All parameters of a class but `FROM_DATA`: the given ones converted to their types, the others' defaults.

    Args:
        cls: The class, which is not instantiated.
        given: Plain values, as YAML has them.

    Raises:
        ArgumentError: A parameter does not exist, has a value that does not fit its type, or is missing.
        TypeError: A value is not plain; so are ValueError and RecursionError.
    """
    return _complete(cls, json.dumps(given))


@cache  # the rows of a table share most of their settings, and a parser takes milliseconds
def _complete(cls: type, given: str) -> Mapping[str, Any]:
    return dict(parser_of(cls, FROM_DATA).parse_object(json.loads(given)))


def forget_completed() -> None:
    """Let `complete` look at the parsers anew, whose defaults have been changed."""
    _complete.cache_clear()


def subclasses(base: type) -> Iterator[type]:
    """All classes that derive from one, as far as they are imported."""
    derived: list[type] = base.__subclasses__()
    for each in derived:
        yield each
        yield from subclasses(each)


def find_class(name: object, known: Mapping[str, type]) -> type | None:
    """The class of a name: a short one among those that are known, or a dotted import path; None where there is none.

    Args:
        name: The name, or what stands in its place.
        known: Classes by their short names.
    """
    if not isinstance(name, str) or name in known:
        return known.get(name) if isinstance(name, str) else None
    module, _, short = name.rpartition(".")
    try:
        found = getattr(import_module(module), short)
    except (ImportError, AttributeError, TypeError, ValueError):  # the last two: a relative path, or no module at all
        return None
    return found if isinstance(found, type) else None


def instantiate(parser: ArgumentParser, settings: Namespace) -> Namespace:
    """The settings with instances in the place of classes.

    jsonargparse takes an error of a constructor for a value that does not fit its type, and says so at length. Here the
    constructor's own error passes.

    Args:
        parser: The parser that has parsed the settings.
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
    raise errors[-1]  # out here: within, the library's error, whose cause it is, would become its context
