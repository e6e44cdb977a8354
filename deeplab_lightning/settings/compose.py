"""The composition of settings: later files override earlier ones, and dotted settings override all files."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import Any

Settings = dict[str, Any]
"""Nested settings as in a YAML file: parts such as model and trainer, and the settings in each part."""

NO_OVERRIDES: Mapping[str, Any] = MappingProxyType({})
OBJECT_KEYS = {"class_path", "init_args"}


def compose(layers: Iterable[Mapping[str, Any]], overrides: Mapping[str, Any] = NO_OVERRIDES) -> Settings:
    """Compose the settings of several files and dotted settings.

    Args:
        layers: The settings of each file. Later ones win.
        overrides: The values of dotted settings such as `model.init_args.lr`, which win over all files.
    """
    composed: Settings = {}
    for layer in layers:
        merge(composed, layer)
    for name, value in overrides.items():
        override(composed, name, value)
    return composed


def merge(settings: Settings, others: Mapping[str, Any]) -> None:
    """Merge new settings into old ones in place, like the command line does with its files.

    Parts and objects {class_path, init_args} are merged key by key. A value that is a mapping itself, such as
    `lr_multipliers`, replaces the old one as a whole. A key that ends in + appends to a list.

    Args:
        settings: The old settings, which are modified.
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
        # Without a list to append to, the plus stays in the key, so that it appends to the list of another layer.
        target = base if base in settings else key
        settings[target] = [*listed(settings.get(target)), *deepcopy(listed(value))]


def override(settings: Settings, name: str, value: Any) -> None:
    """Set one dotted setting in place. Unlike `merge`, it can change one item of a value that is a mapping.

    Args:
        settings: The settings, which are modified. Missing mappings along the dotted name are created.
        name: The dotted name. With a + at its end, the value is appended to a list.
        value: The value, which is copied.
    """
    *outer, last = name.split(".")
    for key in outer:
        if not isinstance(settings.get(key), dict):
            settings[key] = {}
        settings = settings[key]
    _set(settings, last, value)


def look_up(settings: Mapping[str, Any], name: str) -> Any:
    """Return the value of a dotted setting.

    Raises:
        KeyError: There is no such setting.
    """
    for key in name.split("."):
        settings = settings[key] if key in settings else settings[f"{key}+"]  # `_set` may have kept the plus
    return settings


def listed(value: Any) -> list[Any]:
    """Return the values of a setting as a list: those of a list, a single value, or none."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
