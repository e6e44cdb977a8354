"""What a table's settings come to: each checked, with every default, as far as it can change a result."""

import json
import math
import re
from argparse import ArgumentError
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib import import_module
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from deeplab_lightning.ablation.table import TableError
from deeplab_lightning.usage import did_you_mean

PROTOCOLS = {
    1: "results were found by the settings that a table gives; data.batch_size was of each process",
    2: "data.batch_size is of all processes together, whose batch norms share statistics on GPUs",
}
"""What each protocol changed; the newest is part of the hash of a result.

Whoever changes what the same settings mean, and so what they score, adds a number. A changed default needs none.
"""
PROTOCOL = max(PROTOCOLS)

Resolved = dict[str, Any]
"""Dotted settings and their values, of those that can change a result."""

PLACES = {
    "trainer": {
        *("accelerator", "barebones", "benchmark", "default_root_dir", "detect_anomaly", "deterministic", "devices"),
        *("enable_autolog_hparams", "enable_checkpointing", "enable_model_summary", "enable_progress_bar"),
        *("inference_mode", "log_every_n_steps", "logger", "model_registry", "num_nodes", "num_sanity_val_steps"),
        *("callbacks", "profiler", "strategy", "use_distributed_sampler"),
    },
    "model": {"class_names", "num_classes", "start_from"},
    "data": {"eval_batch_size", "normalization", "num_workers", "seed"},
    "callbacks": {"num_workers"},
}
"""Settings of where and how fast a result comes about, or that follow from others; no part of the hash."""
SPECTATORS = {"LogPredictions"}  # callbacks that change no result
COUNTS = ("trainer.max_steps", "trainer.accumulate_grad_batches", "data.init_args.batch_size")
LARGEST = 10**9
LONGEST = 80  # characters of a value in an error


def resolve(config: Mapping[str, Any], where: str) -> Resolved:
    """The settings of a training or an evaluation, with the defaults of the classes that they name.

    Args:
        config: as a table and its files give it.
        where: the table's file and the row.

    Raises:
        TableError: a setting that does not exist, or a value that it cannot have.
    """
    check_shape(config, where)
    given = dict(config.get("trainer", {}))
    callbacks = listed(given.pop("callbacks", None)) + listed(given.pop("callbacks+", None))
    trainer: dict[str, Any] = {**_settings(_trainer(), "trainer", given, where)}
    trainer["callbacks"] = [
        _object(f"trainer.callbacks.{number}", each if isinstance(each, dict) else {"class_path": each}, where)
        for number, each in enumerate(callbacks)
    ]
    skipping = _settings(_finite_loss(), "finite_loss", config.get("finite_loss", {}), where)
    objects = {part: _object(part, config.get(part), where) for part in ("model", "data")}
    resolved = flatten({**objects, "trainer": trainer, "finite_loss": skipping})
    _check_counts(resolved, where)
    return resolved


def flatten(config: Mapping[str, Any]) -> Resolved:
    """The settings that can change a result, of all that a run had."""
    trainer = config["trainer"]
    callbacks = [each for each in listed(trainer.get("callbacks")) if _class_name(each) not in SPECTATORS]
    objects = {"model": config["model"], "data": config["data"]}
    objects |= {f"trainer.callbacks.{number}": each for number, each in enumerate(callbacks)}
    resolved = {f"trainer.{key}": _plain(value) for key, value in trainer.items() if key not in PLACES["trainer"]}
    resolved |= {f"finite_loss.{key}": _plain(value) for key, value in (config.get("finite_loss") or {}).items()}
    for name, content in objects.items():
        resolved[f"{name}.class_path"] = _class_name(content)
        for key, value in (content.get("init_args") or {}).items():
            if key not in PLACES.get(name, PLACES["callbacks"]):
                resolved[f"{name}.init_args.{key}"] = _plain(value)
    return resolved


def _class_name(content: Mapping[str, Any]) -> str:
    return str(content["class_path"]).rpartition(".")[2]


def differences(old: Resolved, new: Resolved) -> list[str]:
    """What has changed between two results, a setting each."""
    found = []
    for key in [*new, *(key for key in old if key not in new)]:
        was, now = (_shown(each[key]) if key in each else "not there" for each in (old, new))
        if was != now:
            found.append(f"{key} {was} -> {now}")
    return found


def check_shape(config: Mapping[str, Any], where: str) -> None:
    """Look at the parts of the settings, before anything is looked for in them.

    Raises:
        TableError: one is no mapping.
    """
    for part in ("model", "data", "trainer", "finite_loss"):
        content = _mapping(part, config.get(part, {}), where)
        _mapping(f"{part}.init_args", content.get("init_args", {}), where)


def digest(settings: object) -> str:
    """The hash by which settings are found again."""
    return sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:10]


def _object(name: str, given: object, where: str) -> dict[str, Any]:
    """An object that a mapping {class_path, init_args} describes, with all its settings."""
    content = _mapping(name, given, where)
    if unknown := sorted(set(content) - {"class_path", "init_args"}):
        raise TableError(f"{where}: there is no setting {name}.{unknown[0]}; there are class_path and init_args")
    cls = _find(f"{name}.class_path", content.get("class_path"), where)
    init_args = _mapping(f"{name}.init_args", content.get("init_args", {}), where)
    return {"class_path": cls.__name__, "init_args": _settings(cls, f"{name}.init_args", init_args, where)}


def _find(name: str, given: object, where: str) -> type:
    """The class of that name, one of this package's or Lightning's or, by a dotted path, any."""
    classes = _classes()
    if isinstance(given, str):
        module, _, short = given.rpartition(".")
        if short in classes and (not module or module == classes[short].__module__):
            return classes[short]
        try:
            found = getattr(import_module(module), short) if module else None
        except (ImportError, AttributeError, TypeError, ValueError):  # a module of no name, or a relative one
            found = None
        if isinstance(found, type):
            return found
    raise TableError(f"{where}: {name} names no class: {_shown(given)}{did_you_mean(str(given), classes)}")


def _settings(cls: type, name: str, given: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """All settings of a class, those that are given as its parser takes them."""
    known = _parsed(cls, None)
    for key in given:
        if key.removesuffix("+") not in known:
            raise TableError(f"{where}: there is no setting {name}.{key}{did_you_mean(key, known)}")
    try:
        return _parsed(cls, json.dumps(given))
    except (TypeError, ValueError, RecursionError, ArgumentError) as error:
        found = re.search(r'Parser key "(\w+)', str(error))
        what = f"{name}.{found[1]} cannot be {_shown(given.get(found[1]))}" if found else name
        reason = " ".join(re.sub(r"<class '(.*?)'>", r"\1", str(error).partition(":\n")[2] or str(error)).split())
        raise TableError(f"{where}: {what} ({reason[:LONGEST]})") from error


def _check_counts(resolved: Resolved, where: str) -> None:
    """Look at what the cost of a training is reckoned from."""
    crop_size = resolved["data.init_args.crop_size"]
    if len(listed(crop_size)) != 2:
        raise TableError(f"{where}: data.init_args.crop_size must be two numbers; got {_shown(crop_size)}")
    sides = {f"data.init_args.crop_size[{axis}]": side for axis, side in enumerate(listed(crop_size))}
    for name, value in ({key: resolved[key] for key in COUNTS} | sides).items():
        if not isinstance(value, int) or not 0 < value <= LARGEST:
            raise TableError(f"{where}: {name} must be a whole number from 1 to {LARGEST:g}; got {_shown(value)}")
    for name in (key for key in resolved if key.endswith("init_args.scales")):
        for scale in listed(resolved[name]) or [None]:
            if not isinstance(scale, int | float) or not 0 < scale <= 100:
                raise TableError(f"{where}: {name} must hold numbers above 0, to 100; got {_shown(resolved[name])}")
    for name, value in resolved.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise TableError(f"{where}: {name} must be a finite number; got {value}")


def _mapping(name: str, given: object, where: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise TableError(f"{where}: {name} must be a mapping of settings; got {_shown(given)}")
    return given


def listed(given: Any) -> list[Any]:
    """What a setting holds that is a list, or one value in the place of a list."""
    if given is None:
        return []
    return list(given) if isinstance(given, list | tuple) else [given]


def _plain(value: Any) -> Any:
    """A value by which 1 is 1.0, and a tuple is a list."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict | Namespace):
        return {str(key): _plain(each) for key, each in dict(value).items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # a number of thousands of digits
        text = "a number that is too large"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


@cache
def _classes() -> dict[str, type]:
    """The classes that a table may call by their names alone."""
    from lightning.pytorch import callbacks

    from deeplab_lightning.cli import CALLBACKS, DATAMODULES, MODULES

    lightnings = {name: getattr(callbacks, name) for name in callbacks.__all__}
    return lightnings | {cls.__name__: cls for cls in (*CALLBACKS, *DATAMODULES, *MODULES)}


@cache
def _trainer() -> type:
    from lightning import Trainer

    return Trainer


@cache
def _finite_loss() -> type:
    from deeplab_lightning.callbacks.finite_loss import FiniteLoss

    return FiniteLoss


@cache
def _parser(cls: type) -> ArgumentParser:
    from deeplab_lightning.cli import TRAINER_DEFAULTS

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, None, skip={"num_classes", "class_names"}, fail_untyped=False)
    if cls is _trainer():
        parser.set_defaults(TRAINER_DEFAULTS)
    return parser


@cache
def _parsed(cls: type, given: str | None) -> Mapping[str, Any]:
    """Settings, given as JSON, as the parser takes them, with the defaults; or the defaults."""
    parser = _parser(cls)
    return dict(parser.get_defaults() if given is None else parser.parse_object(json.loads(given)))
