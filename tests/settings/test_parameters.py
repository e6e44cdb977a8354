"""The parameters of classes, and the search for classes by name. classes.py is covered too."""

import pytest
from jsonargparse import ArgumentParser

from deeplab_lightning.modules.deeplab_v3 import DeepLabV3Module
from deeplab_lightning.settings.classes import CALLBACKS, DATAMODULES, MODULES, short_names, slots
from deeplab_lightning.settings.parameters import FROM_DATA, complete, find_class, instantiate, parameters, subclasses


class Needs:
    """A class for the parser.

    Args:
        number: Any number except 13.
    """

    def __init__(self, number: int) -> None:
        if number == 13:
            raise ValueError("13 is refused\nin two lines")
        self.number = number


class NeedsMore(Needs):
    """A class with one more parameter."""


def test_the_parameters_of_a_network_are_those_of_its_module() -> None:
    known = parameters(DeepLabV3Module)
    assert {"lr", "output_stride", "multi_grid", *FROM_DATA} <= set(known)
    assert set(known) - set(parameters(DeepLabV3Module, FROM_DATA)) == set(FROM_DATA)


def test_given_values_are_converted_and_the_others_are_defaults() -> None:
    filled = complete(DeepLabV3Module, {"lr": "1e-3"})
    assert filled["lr"] == 0.001
    assert set(filled) == set(parameters(DeepLabV3Module, FROM_DATA))


def test_a_class_is_found_by_its_short_name_or_its_path() -> None:
    known = {"Needs": Needs}
    assert find_class("Needs", known) is Needs
    assert find_class(f"{__name__}.NeedsMore", known) is NeedsMore
    for name in ("NeedsMore", "nowhere.Needs", "os.path", "..Needs", "", None, 5, ["Needs"]):
        assert find_class(name, known) is None
    assert list(subclasses(Needs)) == [NeedsMore]


def test_a_constructors_own_error_passes() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Needs, "one")
    settings = {"one": {"class_path": f"{__name__}.NeedsMore", "init_args": {"number": 12}}}
    assert instantiate(parser, parser.parse_object(settings)).one.number == 12
    settings["one"]["init_args"] = {"number": 13}
    with pytest.raises(ValueError, match="13 is refused") as error:
        instantiate(parser, parser.parse_object(settings))
    assert str(error.value) == "13 is refused\nin two lines"
    assert error.value.__context__ is None  # no circle of it and the library's error, whose cause it is


def test_short_names_are_those_of_all_classes_that_may_be_chosen() -> None:
    own = {cls.__name__: cls for cls in (*CALLBACKS, *DATAMODULES, *MODULES)}
    assert own.items() <= short_names().items()
    assert "EarlyStopping" in short_names()
    assert all(issubclass(cls, slots()["model"].base) for cls in MODULES)
    assert all(issubclass(cls, slots()["data"].base) for cls in DATAMODULES)
    assert all(issubclass(cls, slots()["trainer.callbacks"].base) for cls in CALLBACKS)
