"""The settings that come with a checkpoint, read as data: whoever wrote the checkpoint may have written them too."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

MAX_VALUES = 10_000
"""Values that a config may hold. A run's has a few hundred; aliases in YAML can make billions of a few lines."""

CLASS_SETTINGS = {"accelerator", "callbacks", "logger", "plugins", "profiler", "strategy"}
"""The trainer's settings that take a class."""


def read_brought_settings(path: Path) -> dict[str, Any]:
    """The settings of the network and its data, and no more, from the `config.yaml` of a run.

    All else in the file has no effect. A file that names foreign code in any place is refused all the same: nobody
    should take it for harmless and give it to another command.

    Args:
        path: The file.

    Returns:
        Settings of `deeplab validate`: model, data, the seed, which may choose the split, and the precision.

    Raises:
        ValueError: The file is none that a run leaves, or it names foreign code; the message says where.
    """
    settings = _read(path)
    own = _own_names()
    for place, name in _names(path, settings):
        part = place.partition(".")[0]
        if not (place == f"{part}.class_path" and name in own[part] if part in own else _is_known(name)):
            raise ValueError(
                f"{path}: {place} is {name!r}, but what comes with a checkpoint may name no code other than "
                f"deeplab_lightning's and Lightning's, where it belongs; if you trust the file, give it: -c {path}"
            )
    taken: dict[str, Any] = {}
    for part in own:
        given = settings.get(part)
        if not isinstance(given, dict) or "class_path" not in given or not isinstance(given.get("init_args", {}), dict):
            raise ValueError(f"{path}: {part} is {given!r}, where a class_path and its init_args are needed")
        taken[part] = {key: given[key] for key in ("class_path", "init_args") if key in given}
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
        raise ValueError(f"{path}: it is no plain YAML: {' '.join(str(error).split())}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: it holds {type(settings).__name__}, where the settings of a run are needed")
    return settings


def _own_names() -> dict[str, list[str]]:
    """The names of classes, long and short, that the model and the data may have."""
    from deeplab_lightning.settings.classes import DATAMODULES, MODULES

    parts: dict[str, tuple[type, ...]] = {"model": MODULES, "data": DATAMODULES}
    return {
        part: [name for each in classes for name in (each.__name__, f"{each.__module__}.{each.__name__}")]
        for part, classes in parts.items()
    }


def _names(path: Path, settings: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every place that names code, and the name: a class_path, or a short form of one."""
    waiting: list[tuple[str, Any]] = [("", settings)]  # not recursive: a file may nest without end
    for _ in range(MAX_VALUES):
        if not waiting:
            return
        place, value = waiting.pop()
        if place.endswith(".class_path") or (isinstance(value, str) and _takes_class(place)):
            yield place, value
        elif isinstance(value, dict):
            waiting += [(f"{place}.{key}".removeprefix("."), inner) for key, inner in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{place}.{index}", inner) for index, inner in enumerate(value)]
    raise ValueError(f"{path}: it holds more than {MAX_VALUES} values, which no config of a run does")


def _takes_class(place: str) -> bool:
    """Whether a string at this place may be the name of a class, or of a file that names one."""
    part, *inner = place.split(".")
    return part == "trainer" and (not inner or inner[0] in CLASS_SETTINGS) and "init_args" not in inner


def _is_known(name: Any) -> bool:
    """Whether a name outside model and data is harmless: a word without a module, this package's or Lightning's."""
    if not isinstance(name, str):
        return False
    return name.replace("_", "").replace("-", "").isalnum() or name.startswith(
        ("deeplab_lightning.", "lightning.pytorch.")
    )
