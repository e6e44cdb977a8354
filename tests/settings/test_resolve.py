"""The resolution of composed settings, without instantiation."""

import json
from typing import Any

import pytest
import yaml

from deeplab_lightning.settings.compose import compose
from deeplab_lightning.settings.resolve import differences, flatten, resolve
from deeplab_lightning.usage import UsageError

CONFIG: dict[str, Any] = {
    "trainer": {"max_steps": 6, "devices": 1},
    "model": {"class_path": "DeepLabV3Module", "init_args": {"backbone": "resnet18", "lr": 0.01}},
    "data": {"class_path": "FolderDataModule", "init_args": {"root": "nowhere", "batch_size": 4}},
}
FAULTS = {
    'data.init_args.batch_size: "a lot"': ["data.init_args.batch_size", "a whole number", "'a lot'"],
    "data.init_args.batch_size: 16.5": ["data.init_args.batch_size", "16.5"],
    "data.init_args.batch_size: null": ["data.init_args.batch_size", "a whole number", "null"],
    "data.init_args.batch_size: true": ["data.init_args.batch_size", "True"],
    "data.init_args.batch_size: {a: 1}": ["data.init_args.batch_size", "{'a': 1}"],
    "data.init_args.crop_size: 513": ["data.init_args.crop_size", "2 whole numbers", "513"],
    "data.init_args.crop_size: [513]": ["data.init_args.crop_size", "2 whole numbers", "[513]"],
    "data.init_args.crop_sise: [65, 65]": ["data.init_args.crop_sise", "did you mean crop_size"],
    "data.class_path: ShapeDataModule": ["data.class_path", "'ShapeDataModule'", "did you mean ShapesDataModule"],
    "data.class_path: os.path": ["data.class_path", "'os.path'"],
    "data.class_path: .relative": ["data.class_path", "'.relative'"],
    "data.init_args: 5": ["data.init_args must be a mapping", "5"],
    "data: [1]": ["data must be a mapping", "[1]"],
    "data: {class_path: FolderDataModule}": ["data.init_args", "root"],
    "model.class_pth: VGG": ["model.class_pth", "class_path and init_args"],
    "model.class_path: null": ["model.class_path", "None"],
    "model.init_args.lr: fast": ["model.init_args.lr", "a number", "'fast'"],
    "model.init_args.num_classes: 5": ["model.init_args.num_classes"],
    "trainer.max_steps: 30k": ["trainer.max_steps", "a whole number", "'30k'"],
    "trainer.callbacks: 5": ["trainer.callbacks.0.class_path", "5"],
    "trainer.callbacks+: [{class_path: CRFEvaluation, init_args: {iterations: ten}}]": ["iterations", "'ten'"],
    "trainer.callbacks+: [{class_path: CRFEvaluation, init_args: [10]}]": ["init_args must be a mapping", "[10]"],
    "finite_loss: {max_skiped: 3}": ["finite_loss.max_skiped", "did you mean max_skipped"],
}


def config_with(settings: str) -> dict[str, Any]:
    return compose([CONFIG], yaml.safe_load(f"{{{settings}}}"))


@pytest.mark.parametrize("settings", FAULTS)
def test_a_fault_is_one_sentence_with_its_name_and_value(settings: str) -> None:
    with pytest.raises(UsageError) as error:
        resolve(config_with(settings))
    assert all(part in str(error.value) for part in FAULTS[settings]), error.value
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 400


def test_defaults_are_included_and_irrelevant_settings_are_not() -> None:
    resolved = resolve(CONFIG)
    assert resolved["model.class_path"] == "DeepLabV3Module"
    assert (resolved["model.init_args.lr"], resolved["model.init_args.backbone"]) == (0.01, "resnet18")
    assert resolved["model.init_args.output_stride"] == 16  # the network's default
    assert resolved["data.init_args.flip"] is True  # the base's
    assert resolved["trainer.sync_batchnorm"] is True  # this project's, not Lightning's
    assert resolved["trainer.accumulate_grad_batches"] == 1  # Lightning's
    assert resolved["finite_loss.max_skipped"] == 0
    absent = ("trainer.devices", "model.init_args.num_classes", "model.init_args.start_from", "data.init_args.seed")
    assert not set(absent) & set(resolved)
    assert json.loads(json.dumps(resolved)) == resolved


SAME = {
    "data.init_args.in_channels": 3,  # it was added later: results of before are found again
    "model.init_args.lr": "0.01",  # in quotes
    "data.init_args.scale_range": [0.5, 2],
    "data.init_args.num_workers": 7,
    "trainer.callbacks": ["LogPredictions"],
    "model.class_path": "deeplab_lightning.modules.deeplab_v3.DeepLabV3Module",
}


@pytest.mark.parametrize("name", SAME)
def test_equivalent_settings_resolve_to_the_same(name: str) -> None:
    assert resolve(compose([CONFIG], {name: SAME[name]})) == resolve(CONFIG)


def test_callbacks_of_a_list_and_appended_ones() -> None:
    crf = {"class_path": "CRFEvaluation", "init_args": {"iterations": 5}}
    for settings in ({"trainer.callbacks": [crf]}, {"trainer.callbacks+": [crf]}, {"trainer.callbacks": crf}):
        resolved = resolve(compose([CONFIG], settings))
        assert resolved["trainer.callbacks.0.class_path"] == "CRFEvaluation"
        assert resolved["trainer.callbacks.0.init_args.iterations"] == 5


def test_the_config_of_a_run_resolves_to_the_same() -> None:
    left = {
        "trainer": {"max_steps": 6.0, "devices": 4, "callbacks": None},
        "model": {"class_path": "package.DeepLabV3Module", "init_args": {"rates": (6, 12), "class_names": ["a"]}},
        "data": {"class_path": "FolderDataModule", "init_args": {"mean": [0.5]}},
        "finite_loss": None,
    }
    assert flatten(left) == {
        "trainer.max_steps": 6,
        "model.class_path": "DeepLabV3Module",
        "model.init_args.rates": [6, 12],
        "data.class_path": "FolderDataModule",
        "data.init_args.mean": [0.5],
    }


def test_differences_name_both_values() -> None:
    assert differences({"a": 1, "b": 2, "gone": 3}, {"a": 1, "b": [4], "new": None}) == [
        "b 2 -> [4]",
        "new missing -> None",
        "gone 3 -> missing",
    ]


@pytest.mark.parametrize(("window", "is_hashed"), [(None, False), ([64, 64], True)])
def test_a_setting_that_came_later_is_hashed_if_it_has_an_effect(window: list[int] | None, is_hashed: bool) -> None:
    resolved = resolve(config_with(f"model.init_args.window: {json.dumps(window)}"))
    assert ("model.init_args.window" in resolved) == is_hashed
