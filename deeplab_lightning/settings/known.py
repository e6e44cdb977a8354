"""One-sentence errors for settings that jsonargparse refuses: the wrong name or value, and the nearest valid one.

jsonargparse's own errors list every type that a value does not fit. Its parsers know all names and types, from which
shorter errors are made here.
"""

from argparse import ArgumentError
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import Parameter, signature
from typing import Any

from deeplab_lightning.settings.given import Given
from deeplab_lightning.settings.parameters import find_class, parameters, subclasses
from deeplab_lightning.settings.values import check_value, item_type
from deeplab_lightning.usage import UsageError, did_you_mean

MAX_LENGTH = 250
"""The limit on the characters of an error by jsonargparse that nothing here explains."""
SEE_HELP = "; --help lists the settings"


@dataclass
class Slot:
    """A setting that takes a class, which is chosen by its name.

    Args:
        base: The base class of all choices.
        word: The word for such a class in an error, such as "callback".
        example: The options that choose a class, for the error when none is chosen; empty where none is required.
        linked: The parameters that follow from other settings.
        chosen: The class that was chosen last; None where none was chosen yet.
    """

    base: type
    word: str
    example: str = ""
    linked: Collection[str] = ()
    chosen: type | None = None

    def choose(self, name: str) -> None:
        """Choose a class by its short name or its import path.

        Raises:
            UsageError: There is no such class, or it does not derive from the base.
        """
        known = {each.__name__: each for each in subclasses(self.base) if not each.__name__.startswith("_")}
        found = find_class(name, known)
        if found is None or not issubclass(found, self.base):
            ours = sorted(key for key, each in known.items() if each.__module__.startswith("deeplab_lightning."))
            choice = did_you_mean(name, known) or f"; choose one of {', '.join(ours)}"
            raise UsageError(f"there is no {self.word} {name!r}{choice}")
        self.chosen = found


@dataclass
class Known:
    """The settings that exist.

    Args:
        types: The types of plain settings, by dotted name.
        slots: The settings that take a class, by dotted name.
        seen: The dotted names of all arguments of classes that were given.
    """

    types: dict[str, Any]
    slots: dict[str, Slot]
    seen: set[str] = field(default_factory=set)

    @contextmanager
    def explain(self, given: Sequence[Given]) -> Iterator[None]:
        """Replace an error that jsonargparse raises in the block by one sentence.

        Args:
            given: The settings that the block parses, as the user wrote them.

        Raises:
            UsageError: A setting is wrong or missing.
        """
        try:
            yield
        except ArgumentError as error:
            for _ in range(2):  # a setting may precede the choice of its class; the second round checks it
                for file, name, value in given:
                    with _from(file):
                        self._check(name.removesuffix("+").replace(".init_args", ""), value)
            self._check_complete()
            message = " ".join(str(error).split())
            raise UsageError(message if len(message) <= MAX_LENGTH else f"{message[: MAX_LENGTH - 4]} ...") from error
        self._check_nulls(given)

    def _check_nulls(self, given: Sequence[Given]) -> None:
        """Refuse null where a setting takes none: jsonargparse accepts it, and the class fails later."""
        for file, name, value in given:
            for key, each in _leaves(name.removesuffix("+"), value):
                if key in self.slots or key.endswith(".class_path") or each in (None, "null"):
                    with _from(file):
                        self._check(key.replace(".init_args", ""), each)

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
            raise UsageError(f"there is no setting {name}{did_you_mean(name, self.names()) or SEE_HELP}")

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
                choice = did_you_mean(name, self.names()) or SEE_HELP
                raise UsageError(f"there is no setting {name} of {slot.chosen.__name__}{choice}")

    def _check_complete(self) -> None:
        for name, slot in self.slots.items():
            if slot.chosen is None and slot.example:
                raise UsageError(f"there is no {slot.word}; add {slot.example}")
            if slot.chosen is not None and slot.example:
                for own in signature(slot.chosen).parameters.values():
                    needed = own.default is Parameter.empty and own.kind is Parameter.POSITIONAL_OR_KEYWORD
                    if needed and own.name not in slot.linked and f"{name}.{own.name}" not in self.seen:
                        raise UsageError(f"{slot.chosen.__name__} needs --{name}.{own.name}, which is missing")

    def names(self) -> list[str]:
        """The names of all settings, including those of the chosen classes."""
        own = (
            f"{name}.{key}"
            for name, slot in self.slots.items()
            if slot.chosen
            for key in parameters(slot.chosen)
            if key not in slot.linked
        )
        return [*self.types, *self.slots, *{name.split(".")[0] for name in self.types}, *own]


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The dotted names within a setting, each with its value that is not a mapping."""
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, each in value.items():
        yield from _leaves(f"{name}.{key}".removesuffix("+"), each)


def _check_item(name: str, key: str, types: Mapping[str, Any], value: Any) -> bool:
    """Whether a key lies within a known setting. If that setting is a mapping with typed values, check the value."""
    parent = key.rpartition(".")[0]
    if parent not in types:
        return bool(parent) and _check_item(name, parent, types, None)
    if (hint := item_type(types[parent])) is not None and value is not None:
        check_value(name, hint, value)
    return True


@contextmanager
def _from(file: str) -> Iterator[None]:
    """Prefix an error with the file that has the mistake; with nothing for the command line."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{file}: {error}" if file else str(error)) from None
