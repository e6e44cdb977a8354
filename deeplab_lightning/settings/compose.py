"""One way to put settings together: those of files, one over the other, and dotted ones over them."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import Any

Settings = dict[str, Any]
"""Nested settings, as a YAML file holds them: parts such as model and trainer, and in them what is set."""

NO_OVERRIDES: Mapping[str, Any] = MappingProxyType({})
OBJECT_KEYS = {"class_path", "init_args"}


def compose(layers: Iterable[Mapping[str, Any]], overrides: Mapping[str, Any] = NO_OVERRIDES) -> Settings:
    """The settings of several files with further ones over them.

    Args:
        layers: The settings of each file; later ones win.
        overrides: Dotted settings, such as `model.init_args.lr`, and their values.
    """
    composed: Settings = {}
    for layer in layers:
        merge(composed, layer)
    for name, value in overrides.items():
        override(composed, name, value)
    return composed


def merge(settings: Settings, others: Mapping[str, Any]) -> None:
    """Lay settings over others in place, as the command line does with its files.

    The settings of a part, or of an object {class_path, init_args}, take the old ones' places one by one; a value that
    is a mapping itself, such as `lr_multipliers`, does so as a whole. A key that ends in + adds to a list.

    Args:
        settings: The old settings, which are changed.
        others: The new settings, which are copied.
    """
    for part, value in others.items():
        if isinstance(value, dict) and isinstance(settings.get(part), dict):
            _merge_part(settings[part], value)
        else:
            _set(settings, part, value)


def _merge_part(part: Settings, others: Mapping[str, Any]) -> None:
    for key, value in others.items():
        is_nested = isinstance(value, dict) and (key == "init_args" or OBJECT_KEYS & value.keys())
        if is_nested and isinstance(part.get(key), dict):
            _merge_part(part[key], value)
        else:
            _set(part, key, value)


def _set(settings: Settings, key: str, value: Any) -> None:
    base = key.removesuffix("+")
    if key == base:
        settings[key] = deepcopy(value)
    else:
        target = base if base in settings else key  # the plus stays where no list is there yet: a later layer has it
        settings[target] = [*listed(settings.get(target)), *deepcopy(listed(value))]


def override(settings: Settings, name: str, value: Any) -> None:
    """Set one dotted setting in place; unlike `merge` it reaches into a mapping that is a value.

    Args:
        settings: The settings, which are changed; mappings that are missing on the way are made.
        name: The dotted name; with a + at its end, the value is added to a list.
        value: The value, which is copied.
    """
    *outer, last = name.split(".")
    for key in outer:
        if not isinstance(settings.get(key), dict):
            settings[key] = {}
        settings = settings[key]
    _set(settings, last, value)


def nest(overrides: Mapping[str, Any]) -> Settings:
    """Dotted settings as nested ones."""
    return compose([], overrides)


def look_up(settings: Mapping[str, Any], name: str) -> Any:
    """The value of a dotted setting.

    Raises:
        KeyError: There is no such setting.
    """
    for key in name.split("."):
        settings = settings[key] if key in settings else settings[f"{key}+"]  # the plus of a list that began with it
    return settings


def listed(value: Any) -> list[Any]:
    """The values of a setting that is a list, or may have one value in the place of a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
