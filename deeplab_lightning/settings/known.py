"""What is wrong with settings that jsonargparse refuses, in one sentence each.

jsonargparse lists every type that a value is not. Here its own knowledge of names and types is asked instead: which
setting is unknown, or which value does not fit, and what would.
"""

from argparse import ArgumentError
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from inspect import Parameter, signature
from typing import Any

from jsonargparse import ArgumentParser

from deeplab_lightning.settings.given import Given
from deeplab_lightning.settings.values import check_value, item_type
from deeplab_lightning.usage import UsageError, did_you_mean

LONGEST = 250


@dataclass
class Slot:
    """A setting that holds an instance of a class which is chosen by name.

    Args:
        base: the class that it derives from.
        word: what such a class is called.
        example: what gives one, for who has given none; nothing where none is needed.
        linked: parameters that follow from other settings.
        chosen: the class that was chosen last.
    """

    base: type
    word: str
    example: str = ""
    linked: Collection[str] = ()
    chosen: type | None = None

    def choose(self, name: str) -> None:
        """Choose a class by its short name or its import path."""
        known = {each.__name__: each for each in _subclasses(self.base)}
        module, _, own = name.rpartition(".")
        found: Any = known.get(name)
        with suppress(ImportError, AttributeError, ValueError):
            found = found or getattr(import_module(module), own)
        if not (isinstance(found, type) and issubclass(found, self.base)):
            ours = sorted(key for key, each in known.items() if each.__module__.startswith("deeplab_lightning."))
            choice = did_you_mean(name, known) or f"; there are {', '.join(ours)}"
            raise UsageError(f"there is no {self.word} {name!r}{choice}")
        self.chosen = found


@dataclass
class Known:
    """The settings that there are.

    Args:
        types: types of plain settings, by dotted name.
        slots: settings that hold instances, by dotted name.
    """

    types: dict[str, Any]
    slots: dict[str, Slot]
    seen: set[str] = field(default_factory=set)

    @contextmanager
    def explain(self, given: Sequence[Given]) -> Iterator[None]:
        """Put a sentence in the place of jsonargparse's own error.

        Raises:
            UsageError: what is wrong with what was given.
        """
        try:
            yield
        except ArgumentError as error:
            for _ in range(2):  # a class may be chosen behind its settings
                for file, name, value in given:
                    with _from(file):
                        self._check(name.removesuffix("+").replace(".init_args", ""), value)
            self._check_complete()
            message = " ".join(str(error).split())
            raise UsageError(message if len(message) <= LONGEST else f"{message[: LONGEST - 4]} ...") from error

    def _check(self, name: str, value: Any) -> None:
        for key, slot in self.slots.items():
            if name == key:
                for each in value if isinstance(value, list) else [value]:
                    self._check_instance(key, slot, each)
                return
            if name.startswith(f"{key}."):
                self._check_argument(name, name.removeprefix(f"{key}."), slot, value)
                return
        if name in self.types:
            check_value(name, self.types[name], value)
        elif isinstance(value, Mapping) and any(key.startswith(f"{name}.") for key in (*self.types, *self.slots)):
            for key, own in value.items():
                self._check(f"{name}.{key}".removesuffix("+"), own)
        elif not _check_item(name, name, self.types, value):
            raise UsageError(f"there is no setting {name}{did_you_mean(name, self.names()) or SEE}")

    def _check_instance(self, name: str, slot: Slot, value: Any) -> None:
        if isinstance(value, str) and not value.endswith((".yaml", ".yml")):
            slot.choose(value)
        elif isinstance(value, Mapping):
            if isinstance(value.get("class_path"), str):
                slot.choose(value["class_path"])
            own = {key: each for key, each in value.items() if key not in ("class_path", "init_args", "dict_kwargs")}
            for key, each in (own | (value.get("init_args") or {})).items():
                self._check_argument(f"{name}.{key}", key, slot, each)

    def _check_argument(self, name: str, key: str, slot: Slot, value: Any) -> None:
        self.seen.add(name)
        if key == "class_path":
            slot.choose(str(value))
        elif slot.chosen is not None and key != "help":
            types = parameters(slot.chosen)
            if key in types:
                check_value(name, types[key], value)
            elif not _check_item(name, key, types, value):
                choice = did_you_mean(name, self.names()) or SEE
                raise UsageError(f"there is no setting {name} of {slot.chosen.__name__}{choice}")

    def _check_complete(self) -> None:
        for name, slot in self.slots.items():
            if slot.chosen is None and slot.example:
                raise UsageError(f"no {slot.word} is given; add {slot.example}")
            if slot.chosen is not None and slot.example:
                for own in signature(slot.chosen).parameters.values():
                    needed = own.default is Parameter.empty and own.kind is Parameter.POSITIONAL_OR_KEYWORD
                    if needed and own.name not in slot.linked and f"{name}.{own.name}" not in self.seen:
                        raise UsageError(f"{slot.chosen.__name__} needs --{name}.{own.name}, which is not given")

    def names(self) -> list[str]:
        """The names of all settings, those of the chosen classes included."""
        own = (
            f"{name}.{key}"
            for name, slot in self.slots.items()
            if slot.chosen
            for key in parameters(slot.chosen)
            if key not in slot.linked
        )
        return [*self.types, *self.slots, *{name.split(".")[0] for name in self.types}, *own]


SEE = "; --help lists the settings"


def types_of(parser: ArgumentParser) -> dict[str, Any]:
    """The types of a parser's settings by dotted name, from its actions: jsonargparse gives no other access."""
    actions = [action for action in parser._actions if action.dest.rpartition(".")[2] not in ("help", "print_config")]
    groups = {action.dest.rpartition(".")[0] for action in actions}
    return {action.dest: getattr(action, "_typehint", action.type) for action in actions if action.dest not in groups}


@cache
def parameters(chosen: type) -> dict[str, Any]:
    """The parameters of a class with their types; those that it hands on included."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(chosen)
    return types_of(parser)


def _check_item(name: str, key: str, types: Mapping[str, Any], value: Any) -> bool:
    """Whether the key is an item of a setting that is a mapping, whose value is then checked, or within an instance."""
    parent = key.rpartition(".")[0]
    if parent not in types:
        return bool(parent) and _check_item(name, parent, types, None)
    if (hint := item_type(types[parent])) is not None and value is not None:
        check_value(name, hint, value)
    return True


@contextmanager
def _from(file: str) -> Iterator[None]:
    """Say the file where a mistake is in one."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{file}: {error}" if file else str(error)) from None


def _subclasses(base: type) -> Iterator[type]:
    subclasses: list[type] = base.__subclasses__()
    for each in subclasses:
        yield each
        yield from _subclasses(each)
