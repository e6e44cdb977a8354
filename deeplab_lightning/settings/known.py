"""Settings that jsonargparse refuses, explained in one sentence: the name or the value that is wrong, and the nearest.

jsonargparse itself lists every type that a value does not fit. Its knowledge of names and types says more.
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

LONGEST = 250
"""Characters of an error of jsonargparse's that nothing here explains."""
SEE = "; --help lists the settings"


@dataclass
class Slot:
    """A setting that holds an instance of a class, which is chosen by its name.

    Args:
        base: The class that all choices derive from.
        word: The field's word for such a class.
        example: Options that choose one, for the error when none is given; empty where none is needed.
        linked: Parameters that follow from other settings.
        chosen: The class that was chosen last.
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
        known = {each.__name__: each for each in subclasses(self.base)}
        found = find_class(name, known)
        if found is None or not issubclass(found, self.base):
            ours = sorted(key for key, each in known.items() if each.__module__.startswith("deeplab_lightning."))
            choice = did_you_mean(name, known) or f"; there are {', '.join(ours)}"
            raise UsageError(f"there is no {self.word} {name!r}{choice}")
        self.chosen = found


@dataclass
class Known:
    """The settings that there are.

    Args:
        types: The types of plain settings, by dotted name.
        slots: The settings that hold instances, by dotted name.
        seen: The names of the arguments of instances that were given, by dotted name.
    """

    types: dict[str, Any]
    slots: dict[str, Slot]
    seen: set[str] = field(default_factory=set)

    @contextmanager
    def explain(self, given: Sequence[Given]) -> Iterator[None]:
        """Put a sentence in the place of jsonargparse's own error.

        Args:
            given: The settings that are parsed within, as somebody wrote them.

        Raises:
            UsageError: One of them is wrong, or one is missing.
        """
        try:
            yield
        except ArgumentError as error:
            for _ in range(2):  # a class may be chosen after its settings, which are checked in the second round
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


def _check_item(name: str, key: str, types: Mapping[str, Any], value: Any) -> bool:
    """Whether a key is an item of a setting that is a mapping, whose value is then checked, or lies in an instance."""
    parent = key.rpartition(".")[0]
    if parent not in types:
        return bool(parent) and _check_item(name, parent, types, None)
    if (hint := item_type(types[parent])) is not None and value is not None:
        check_value(name, hint, value)
    return True


@contextmanager
def _from(file: str) -> Iterator[None]:
    """Begin the sentence on a mistake with the file that has it; empty for the command line."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{file}: {error}" if file else str(error)) from None
