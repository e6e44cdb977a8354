"""Settings of files and dotted settings are composed like on the command line."""

from typing import Any

import pytest
from jsonargparse import ArgumentParser, Namespace

from deeplab_lightning.datamodules.base import SegmentationDataModule
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.settings.classes import CALLBACKS, DATAMODULES, MODULES
from deeplab_lightning.settings.compose import compose, look_up, merge, override

MODEL: dict[str, Any] = {
    "model": {
        "class_path": "DeepLabV3Module",
        "init_args": {"num_classes": 2, "lr": 0.1, "lr_multipliers": {"backbone": 0.5}},
    }
}
LAYERS: list[list[dict[str, Any]]] = [
    [MODEL, {"model": {"init_args": {"lr": 0.2}}}],
    [MODEL, {"model": {"init_args": {"lr_multipliers": {"classifier": 10.0}}}}],  # a mapping that is a value
    [MODEL, {"model": {"init_args": {"lr_multipliers": None}}}],
    [MODEL, {"data": {"class_path": "ShapesDataModule", "init_args": {"root": "a", "crop_size": [8, 9]}}}],
    [{"data": {"class_path": "ShapesDataModule", "init_args": {"root": "a"}}}, {"data": {"init_args": {"root": "b"}}}],
]


@pytest.mark.parametrize("layers", LAYERS, ids=range(len(LAYERS)))
def test_files_are_merged_as_the_command_line_merges_them(layers: list[dict[str, Any]]) -> None:
    assert CALLBACKS + DATAMODULES + MODULES  # imported, so that their short names work
    parser = ArgumentParser(exit_on_error=False)
    for part, base in (("model", SegmentationModule), ("data", SegmentationDataModule)):
        parser.add_subclass_arguments(base, part)
    one_by_one = Namespace()  # type: ignore[no-untyped-call]
    for layer in layers:
        one_by_one = parser.parse_object(layer, namespace=one_by_one, defaults=False)
    assert one_by_one == parser.parse_object(compose(layers), defaults=False)


def test_an_override_can_change_one_item_of_a_mapping() -> None:
    composed = compose([MODEL], {"model.init_args.lr_multipliers.classifier": 10.0, "trainer.max_steps": 3})
    assert composed["model"]["init_args"]["lr_multipliers"] == {"backbone": 0.5, "classifier": 10.0}
    assert composed["trainer"] == {"max_steps": 3}
    assert MODEL["model"]["init_args"]["lr_multipliers"] == {"backbone": 0.5}  # as it was


def test_a_key_with_a_plus_adds_to_a_list() -> None:
    settings = {"a": {"list": [1]}}
    merge(settings, {"a": {"list+": [2]}, "other+": 3})
    merge(settings, {"other+": [4]})
    override(settings, "a.list+", 5)
    assert settings == {"a": {"list": [1, 2, 5]}, "other+": [3, 4]}


def test_an_object_within_a_part_is_merged_too() -> None:
    old = {"trainer": {"strategy": {"class_path": "DDPStrategy", "init_args": {"a": 1, "b": 2}}, "max_steps": 3}}
    merge(old, {"trainer": {"strategy": {"init_args": {"b": 3}}}})
    assert old["trainer"] == {"strategy": {"class_path": "DDPStrategy", "init_args": {"a": 1, "b": 3}}, "max_steps": 3}


def test_what_is_merged_is_copied() -> None:
    value = [1]
    settings: dict[str, Any] = {}
    merge(settings, {"a": {"b": value}})
    override(settings, "c.d+", value)
    settings["a"]["b"].append(2)
    settings["c"]["d+"].append(3)
    assert value == [1]


def test_dotted_settings_and_nested_ones() -> None:
    nested = compose([], {"a.b": 1, "a.c+": [2]})
    assert nested == {"a": {"b": 1, "c+": [2]}}
    assert [look_up(nested, name) for name in ("a.b", "a.c", "a")] == [1, [2], nested["a"]]
    with pytest.raises(KeyError, match="missing"):
        look_up(nested, "a.missing")
