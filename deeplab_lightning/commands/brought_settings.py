"""The settings that come with a checkpoint. They are read as data only, because their author may not be trusted."""

import re
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml

from deeplab_lightning.datasets.augmentation import LIBRARIES, NESTED

MAX_VALUES = 10_000
"""The limit on the values in a config. A run has a few hundred; YAML aliases can unfold a few lines into billions."""

CLASS_SETTINGS = {"accelerator", "callbacks", "logger", "plugins", "profiler", "strategy"}
"""The settings of the trainer whose value may be the name of a class."""


def read_brought_settings(path: Path) -> dict[str, Any]:
    """Read the settings of the network and of its data from the `config.yaml` of a run.

    All other settings in the file have no effect. A file that names foreign code anywhere is refused nevertheless, so
    that nobody takes it for harmless and passes it to another command.

    Args:
        path: The path of the file.

    Returns:
        The settings for `deeplab validate`: model, data without `transforms`, which are for training, precision, and
        the seed, because a split may depend on it.

    Raises:
        ValueError: The file is not the config of a run, or it names foreign code. The message names the place.
    """
    settings = _read(path)
    own = _own_names()
    for place, name in _names(path, settings):
        part = place.partition(".")[0]
        if _describes_transform(place):
            harmless = str(name).startswith(LIBRARIES)
        elif part in own:
            harmless = place == f"{part}.class_path" and name in own[part]
        else:
            harmless = _is_known(name)
        if not harmless:
            raise ValueError(
                f"{path}: {place} is {name!r}, but the config beside a checkpoint may only name classes of "
                "deeplab_lightning and Lightning, and transforms of torchvision and albumentations, in their usual "
                f"places; if you trust the file, pass it: -c {path}"
            )
    taken: dict[str, Any] = {}
    for part in own:
        given = settings.get(part)
        if not isinstance(given, dict) or "class_path" not in given or not isinstance(given.get("init_args", {}), dict):
            raise ValueError(f"{path}: {part} is {given!r}, but it needs a class_path and init_args")
        taken[part] = {key: given[key] for key in ("class_path", "init_args") if key in given}
    arguments = taken["data"].get("init_args", {})
    taken["data"]["init_args"] = {key: value for key, value in arguments.items() if key != NESTED}
    trainer = settings.get("trainer")
    precision = trainer.get("precision") if isinstance(trainer, dict) else None
    seed = settings.get("seed_everything")
    taken |= {"seed_everything": seed} if isinstance(seed, int) else {}
    taken |= {"trainer": {"precision": precision}} if isinstance(precision, str | int) else {}
    return taken


def _read(path: Path) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: it is not plain YAML: {' '.join(str(error).split())}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: it holds a {type(settings).__name__} in place of the settings of a run")
    return settings


def _own_names() -> dict[str, list[str]]:
    """The names of the classes that the model and the data may have: short, and from each package that exports them."""
    from deeplab_lightning.settings.classes import DATAMODULES, MODULES

    parts: dict[str, tuple[type, ...]] = {"model": MODULES, "data": DATAMODULES}
    return {
        part: [name for each in classes for name in (each.__name__, *_paths(each))] for part, classes in parts.items()
    }


def _paths(own: type) -> Iterator[str]:
    """The dotted names of a class in its module and in all packages around it."""
    return (f"{package}.{own.__name__}" for package in accumulate(own.__module__.split("."), "{}.{}".format))


def _names(path: Path, settings: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each place in the settings that names a class, and the name: a class_path, or a short form of one."""
    waiting: list[tuple[str, Any]] = [("", settings)]  # a stack, because an alias can make the nesting endless
    for _ in range(MAX_VALUES):
        if not waiting:
            return
        place, value = waiting.pop()
        if place.endswith(".class_path") or (isinstance(value, str) and _takes_class(place)):
            yield place, value
        elif isinstance(value, dict):
            if _describes_transform(place):
                yield from ((place, key) for key in value)
            waiting += [(f"{place}.{key}".removeprefix("."), inner) for key, inner in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{place}.{index}", inner) for index, inner in enumerate(value)]
    raise ValueError(f"{path}: it holds more than {MAX_VALUES} values, too many for the config of a run")


def _describes_transform(place: str) -> bool:
    """Whether the keys in this place are the names of classes: those of an item of `data.transforms`, at any depth."""
    return place.startswith("data.init_args.transforms.") and bool(re.search(rf"\.{NESTED}\.\d+$", place))


def _takes_class(place: str) -> bool:
    """Whether a string in this place may be the name of a class, or of a file that names one."""
    part, *inner = place.split(".")
    return part == "trainer" and (not inner or inner[0] in CLASS_SETTINGS) and "init_args" not in inner


def _is_known(name: Any) -> bool:
    """Whether a name outside model and data is harmless: a word without a dot, or a class of ours or of Lightning."""
    if not isinstance(name, str):
        return False
    return name.replace("_", "").replace("-", "").isalnum() or name.startswith(
        ("deeplab_lightning.", "lightning.pytorch.")
    )
