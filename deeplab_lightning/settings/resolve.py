"""The resolution of composed settings: every value is checked and every default filled in, without instantiation."""

from argparse import ArgumentError
from collections.abc import Mapping
from typing import Any

from jsonargparse import Namespace

from deeplab_lightning.settings.compose import OBJECT_KEYS, listed
from deeplab_lightning.settings.parameters import FROM_DATA, complete, find_class, parameters
from deeplab_lightning.settings.values import check_value, shown
from deeplab_lightning.usage import UsageError, did_you_mean

Resolved = dict[str, Any]
"""The values of the dotted settings that can change a result."""

IRRELEVANT = {
    "trainer": {
        *("accelerator", "barebones", "benchmark", "default_root_dir", "detect_anomaly", "deterministic", "devices"),
        *("enable_autolog_hparams", "enable_checkpointing", "enable_model_summary", "enable_progress_bar"),
        *("inference_mode", "log_every_n_steps", "logger", "model_registry", "num_nodes", "num_sanity_val_steps"),
        *("callbacks", "profiler", "strategy", "use_distributed_sampler"),
    },
    "model": {*FROM_DATA, "start_from", "recompute_backbone", "compile"},
    "data": {"eval_batch_size", "normalization", "num_workers", "seed"},
    "callbacks": {"num_workers"},
}
"""Settings that cannot change a result: those on the place and speed of a run, and those that follow from others."""
ADDED: dict[str, Any] = {
    "data.init_args.annotations": None,
    "data.init_args.in_channels": 3,
    "data.init_args.overlap": None,
    "data.init_args.transforms": None,
    "data.init_args.value_range": None,
    "data.init_args.void_as": None,
    "model.init_args.loss": None,
    "model.init_args.window": None,
    "model.init_args.window_stride": None,
    "model.init_args.fit_to": None,
    "model.init_args.dense_prediction_cell": False,
    "model.init_args.batch_norm_eps": None,
    "model.init_args.strided_padding": "symmetric",
    "model.init_args.width_multiplier": 1,
    "model.init_args.aspp_separable": False,
    "model.init_args.aspp_depthwise_norm": True,
    "model.init_args.plain_aspp": False,
}
"""Settings that came after results were identified, and the value that means what was done before.

With this value a setting is left out, so that it does not change the hash of earlier results.
"""
OBSERVERS = {"LogPredictions"}
"""Callbacks that cannot change a result."""


def resolve(config: Mapping[str, Any]) -> Resolved:
    """The settings that can change the result of a training or an evaluation, with the defaults of all classes.

    Args:
        config: The settings, composed of files and overrides.

    Raises:
        UsageError: A setting does not exist, or its value does not fit.
    """
    from lightning import Trainer

    from deeplab_lightning.callbacks.finite_loss import FiniteLoss
    from deeplab_lightning.settings.classes import TRAINER_DEFAULTS

    check_shape(config)
    given = {**TRAINER_DEFAULTS, **config.get("trainer", {})}
    callbacks = listed(given.pop("callbacks", None)) + listed(given.pop("callbacks+", None))
    trainer: dict[str, Any] = {**_complete(Trainer, "trainer", given)}
    trainer["callbacks"] = [
        _complete_object(f"trainer.callbacks.{number}", each if isinstance(each, dict) else {"class_path": each})
        for number, each in enumerate(callbacks)
    ]
    skipping = _complete(FiniteLoss, "finite_loss", config.get("finite_loss", {}))
    objects = {part: _complete_object(part, config.get(part)) for part in ("model", "data")}
    return flatten({**objects, "trainer": trainer, "finite_loss": skipping})


def flatten(config: Mapping[str, Any]) -> Resolved:
    """The settings that can change a result, out of the complete settings of a run.

    Args:
        config: The complete settings, as `resolve` composes them or as a run wrote them into its config.yaml.
    """
    trainer = config["trainer"]
    callbacks = [each for each in listed(trainer.get("callbacks")) if _class_name(each) not in OBSERVERS]
    objects = {"model": config["model"], "data": config["data"]}
    objects |= {f"trainer.callbacks.{number}": each for number, each in enumerate(callbacks)}
    resolved = {f"trainer.{key}": _plain(value) for key, value in trainer.items() if key not in IRRELEVANT["trainer"]}
    resolved |= {f"finite_loss.{key}": _plain(value) for key, value in (config.get("finite_loss") or {}).items()}
    for name, content in objects.items():
        resolved[f"{name}.class_path"] = _class_name(content)
        for key, value in (content.get("init_args") or {}).items():
            if key not in IRRELEVANT.get(name, IRRELEVANT["callbacks"]):
                resolved[f"{name}.init_args.{key}"] = _plain(value)
    return {key: value for key, value in resolved.items() if key not in ADDED or value != ADDED[key]}


def differences(old: Resolved, new: Resolved) -> list[str]:
    """The settings that differ between two results, each with its old and new values."""
    found = []
    for key in [*new, *(key for key in old if key not in new)]:
        was, now = (shown(each[key]) if key in each else "missing" for each in (old, new))
        if was != now:
            found.append(f"{key} {was} -> {now}")
    return found


def check_shape(config: Mapping[str, Any]) -> None:
    """Check that the parts of the settings are mappings, so that later code can look up settings in them.

    Raises:
        UsageError: A part is not a mapping.
    """
    for part in ("model", "data", "trainer", "finite_loss"):
        content = _mapping(part, config.get(part, {}))
        _mapping(f"{part}.init_args", content.get("init_args", {}))


def _complete_object(name: str, given: object) -> dict[str, Any]:
    """The description {class_path, init_args} of an object, completed with the defaults of its class."""
    from deeplab_lightning.settings.classes import short_names

    content = _mapping(name, given)
    if unknown := sorted(set(content) - OBJECT_KEYS):
        raise UsageError(f"there is no setting {name}.{unknown[0]}; {name} takes class_path and init_args")
    class_path, known = content.get("class_path"), short_names()
    cls = find_class(class_path, known)
    if cls is None:
        choice = did_you_mean(str(class_path), known)
        raise UsageError(f"{name}.class_path names no class: {shown(class_path)}{choice}")
    init_args = _mapping(f"{name}.init_args", content.get("init_args", {}))
    return {"class_path": cls.__name__, "init_args": _complete(cls, f"{name}.init_args", init_args)}


def _complete(cls: type, name: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """All settings of a class: the given ones, converted by its parser, and the defaults of the others."""
    skip = FROM_DATA if name == "model.init_args" else ()
    types = parameters(cls, skip)
    for key in given:
        if key.removesuffix("+") not in types:
            raise UsageError(f"there is no setting {name}.{key}{did_you_mean(key, types)}")
        if given[key] is None:  # which jsonargparse takes for any type
            check_value(f"{name}.{key}", types[key.removesuffix("+")], None)
    try:
        return complete(cls, given, skip)
    except (TypeError, ValueError, RecursionError, ArgumentError) as error:
        for key, value in given.items():
            check_value(f"{name}.{key}", types[key.removesuffix("+")], value)
        raise UsageError(f"{name}: {' '.join(str(error).split())}") from error


def _mapping(name: str, given: object) -> Mapping[str, Any]:
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise UsageError(f"{name} must be a mapping of settings; got {shown(given)}")
    return given


def _class_name(content: Mapping[str, Any]) -> str:
    return str(content["class_path"]).rpartition(".")[2]


def _plain(value: Any) -> Any:
    """A value in the form that is hashed: 1.0 becomes 1, a tuple becomes a list, and keys become texts."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict | Namespace):
        return {str(key): _plain(each) for key, each in dict(value).items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value
