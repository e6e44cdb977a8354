"""Settings that jsonargparse refuses are explained by the names and types of settings. part.py is covered too."""

from argparse import ArgumentError
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deeplab_lightning.datamodules.shapes import ShapesDataModule
from deeplab_lightning.settings.classes import slots
from deeplab_lightning.settings.given import Given
from deeplab_lightning.settings.known import Known
from deeplab_lightning.settings.part import build_part
from deeplab_lightning.usage import UsageError

TYPES = {"trainer.max_steps": int, "wandb.paper": dict[str, float]}
MODEL = Given("", "model", {"class_path": "DeepLabV3Module"})
DATA = Given("", "data.class_path", "ShapesDataModule")
ROOT = Given("", "data.root", "x")
MISTAKES: list[tuple[Sequence[Given], str]] = [
    ([Given("", "trainer.max_stepps", "3")], "trainer.max_stepps.*mean trainer.max_steps"),
    ([Given("a.yaml", "trainer", {"max_stepps": 3})], "a.yaml: .*trainer.max_stepps.*mean trainer.max_steps"),
    ([Given("a.yaml", "trainer", {"max_steps": "x"})], "a.yaml: .*trainer.max_steps.*'x'"),
    ([Given("", "trainr", {})], "trainr.*mean trainer"),
    ([Given("", "wandb.paper.a", "x")], "wandb.paper.a.*a number.*'x'"),
    ([Given("", "model", "DeepLabV4Module")], "model 'DeepLabV4Module'.*mean DeepLabV1Module"),
    ([Given("", "model", "torch.nn.Linear")], "model 'torch.nn.Linear'.* DeepLabV1Module"),
    ([MODEL, Given("", "model.output_strid", "8")], "model.output_strid of DeepLabV3Module.*mean model.output_stride"),
    ([MODEL, Given("", "model.multi_grids", "8")], "model.multi_grids of DeepLabV3Module.*mean model.multi_grid"),
    ([MODEL, Given("", "model.init_args.output_stride", "x")], "model.output_stride.*'x'"),
    ([Given("", "model.output_strid", "8"), MODEL], "model.output_strid of DeepLabV3Module"),  # chosen afterwards
    ([MODEL, Given("", "model.lr_multipliers.crf", "x")], "model.lr_multipliers.crf.*a number.*'x'"),
    ([Given("", "trainer.callbacks+", "CRFEvalution")], "callback 'CRFEvalution'.*mean CRFEvaluation"),
    (
        [Given("a.yaml", "trainer", {"callbacks+": [{"class_path": "CRFEvaluation", "init_args": {"iteration": 1}}]})],
        "a.yaml: .*trainer.callbacks.iteration of CRFEvaluation.*mean trainer.callbacks.iterations",
    ),
    ([], "no model.*deeplab_v3plus.yaml"),
    ([MODEL], "no datamodule.*shapes.yaml"),
    ([MODEL, Given("", "data", "FolderDataModule")], "FolderDataModule needs --data.root"),
    ([MODEL, DATA, ROOT], "as the library says it"),
]


@pytest.mark.parametrize(("given", "sentence"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_one_sentence_with_the_nearest_name(given: Sequence[Given], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence), Known(TYPES, slots()).explain(given):
        raise ArgumentError(None, "as the library\n says it")


def test_a_long_error_of_the_library_is_cut() -> None:
    with pytest.raises(UsageError, match=r"\.\.\.$") as error, Known({}, {}).explain([]):
        raise ArgumentError(None, "long " * 100)
    assert len(str(error.value)) == 250


def test_without_an_error_nothing_is_explained() -> None:
    with Known(TYPES, slots()).explain([Given("", "nothing.like.it", "3")]):
        pass


NULLS: list[Given] = [
    Given("a.yaml", "trainer", {"max_steps": None}),
    Given("a.yaml", "trainer.max_steps", "null"),
    Given("a.yaml", "model", {"class_path": "DeepLabV3Module", "init_args": {"lr": None}}),
    Given("a.yaml", "trainer", {"callbacks+": [{"class_path": "CRFEvaluation", "init_args": {"iterations": None}}]}),
]


@pytest.mark.parametrize("given", NULLS, ids=range(len(NULLS)))
def test_null_is_refused_where_the_library_takes_it(given: Given) -> None:
    sentence = "a.yaml: (trainer.max_steps|model.lr|trainer.callbacks.iterations) takes a (whole )?number, got .?null"
    with pytest.raises(UsageError, match=sentence), Known(TYPES, slots()).explain([given]):
        pass
    allowed = Given("", "model", {"class_path": "DeepLabV3Module", "init_args": {"start_from": None}})
    with Known(TYPES, slots()).explain([allowed, Given("", "model.step_size", "null")]):
        pass


def test_private_names_are_not_suggested() -> None:
    given = [Given("", "trainer.callbacks+", "_LRCallback")]
    with pytest.raises(UsageError, match="^[^;]*_LRCallback[^_]*$"), Known(TYPES, slots()).explain(given):
        raise ArgumentError(None, "as the library says it")


def write(path: Path, **settings: Any) -> Path:
    path.write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))
    return path


def test_a_part_is_built_of_files_changes_and_options(tmp_path: Path) -> None:
    first = write(tmp_path / "a.yaml", data="{class_path: ShapesDataModule, init_args: {root: a, batch_size: 3}}")
    second = write(tmp_path / "b.yaml", model="{class_path: Nothing}", data="{init_args: {crop_size: [8, 9]}}")
    built = build_part("data", [first, second], ["--data.batch_size", "5"], {"root": "~/b"})
    assert isinstance(built, ShapesDataModule)
    assert (built.batch_size, built.root) == (5, Path.home() / "b")


def test_missing_and_wrong_parts(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"c\.yaml.*data\.class_path.*shapes\.yaml"):
        build_part("data", [write(tmp_path / "c.yaml", trainer="{max_steps: 3}")], [], {})
    file = write(tmp_path / "d.yaml", data="{class_path: ShapesDataModule, init_args: {crop_sise: [8, 9]}}")
    with pytest.raises(UsageError, match=r"d\.yaml: .*data\.crop_sise.*data\.crop_size"):
        build_part("data", [file], [], {})
    with pytest.raises(ValueError, match=r"batch sizes.* 0 "):
        build_part("data", [write(file, data="{class_path: ShapesDataModule}")], ["--data.batch_size", "0"], {})
