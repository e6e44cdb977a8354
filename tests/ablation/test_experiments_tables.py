"""Every table under experiments/ablations/: as many rows as the paper's, each one able to train and to be scored."""

import json
import re
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentError, ArgumentParser
from lightning import Trainer

from deeplab_lightning.ablation.plan import Plan, plan_table
from deeplab_lightning.ablation.scales import SCALES
from deeplab_lightning.ablation.start import describe_start
from deeplab_lightning.ablation.table import read_table
from deeplab_lightning.datamodules.base import SegmentationDataModule
from deeplab_lightning.models.encoders import imagenet_publisher
from deeplab_lightning.modules.base import SegmentationModule
from deeplab_lightning.published.entries import entry
from deeplab_lightning.reports.markdown import list_of_tables
from deeplab_lightning.settings.classes import CALLBACKS, DATAMODULES, MODULES
from deeplab_lightning.settings.compose import compose, merge
from tests.ablation.printed import COLUMNS, NUMBERS, OTHER_STARTS, UNCERTAIN
from tests.integration.conftest import ROOT

OTHERS = {"released_weights"}
"""Tables that are not a paper's; they have tests of their own."""
PLAIN = {"stem": "conv7x7", "stride_unit": "first"}
TABLES = sorted(
    (path for path in (ROOT / "experiments" / "ablations").glob("*.yaml") if path.stem not in OTHERS),
    key=lambda path: [part.zfill(4) if part.isdigit() else part for part in re.split(r"(\d+)", path.stem)],
)
"""The papers' tables; Table 10 comes after Table 9."""


@cache
def parser(part: str) -> ArgumentParser:
    """A parser for the model, the data or the trainer of an experiment; it refuses unknown settings."""
    assert CALLBACKS + DATAMODULES + MODULES  # imported so that their short names work
    parser = ArgumentParser(exit_on_error=False)
    if part == "trainer":
        parser.add_class_arguments(Trainer, "trainer", instantiate=False)
    else:
        parser.add_subclass_arguments({"model": SegmentationModule, "data": SegmentationDataModule}[part], part)
    return parser


@cache
def plan_of(path: Path, scale: str = "paper") -> Plan:
    """A table's plan, which no test changes."""
    return plan_table(read_table(path), scale)


def parse(config: dict[str, Any]) -> dict[str, Any]:
    """The model, the data and the trainer as the commands would parse them."""
    config = deepcopy(config)
    config["model"]["init_args"] |= {"num_classes": 21, "pretrained": False}
    return {part: parsed(part, json.dumps(settings, sort_keys=True))[part] for part, settings in config.items()}


@cache
def parsed(part: str, settings: str) -> Any:
    """The settings of JSON, which many rows share."""
    return parser(part).parse_object({part: json.loads(settings)})


def names(value: Any) -> Any:
    """The names of settings and of classes, without the other values."""
    if isinstance(value, dict):
        return {name: each if name == "class_path" else names(each) for name, each in value.items()}
    return [names(each) for each in value] if isinstance(value, list) else None


@cache
def shapes(model: str) -> dict[str, torch.Size]:
    """The shapes of a network's tensors, built on the meta device from the settings of a model, as JSON."""
    with torch.device("meta"):
        built = parser("model").instantiate(parsed("model", model)).model
    assert built.network.num_classes == 21
    return {name: tensor.shape for name, tensor in built.network.state_dict().items()}


def build(config: dict[str, Any]) -> dict[str, torch.Size]:
    """Parse all settings, and build the network without scales and flip, which do not change it."""
    parse(config)
    model = deepcopy(config["model"])
    model["init_args"] |= {"num_classes": 21, "pretrained": False}
    for name in ("scales", "flip", "lr"):
        model["init_args"].pop(name, None)
    return shapes(json.dumps(model, sort_keys=True))


def test_all_tables_are_known() -> None:
    assert {path.stem for path in TABLES} == set(NUMBERS)
    assert {*COLUMNS, *UNCERTAIN} <= set(NUMBERS)


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_rows_are_the_papers(path: Path) -> None:
    table = read_table(path)
    rows = [row for row in table.rows if row.stage is None]
    numbers = [row.paper for row in rows if row.paper is not None]
    assert numbers == [float(number) for number in NUMBERS[path.stem].split()]
    columns = " ".join(str(value) for row in rows for value in row.columns.values() or "-")
    assert columns.split() == COLUMNS.get(path.stem, "- " * len(rows)).split()
    assert f"deeplab ablate experiments/ablations/{path.name}" in path.read_text()  # the header says how to run it


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_uncertain_and_irreproducible_rows_are_marked(path: Path) -> None:
    table = read_table(path)
    marks = {row.name for row in table.rows if row.remarks.uncertain and not row.stage}
    assert marks == UNCERTAIN.get(path.stem, set())
    for planned in plan_of(path).rows:
        row = planned.row
        assert bool(row.remarks.not_reproducible) == ("jft" in row.name.lower())
        is_test = bool(re.search("(VOC 2012|Cityscapes) test", f"{table.title} {row.remarks.note}"))
        assert (row.metric.split == "server") == is_test or row.stage


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_rows_start_from_the_weights_of_the_releases(path: Path) -> None:
    """Every training says what it stands on, with the strides and the normalisation of those weights."""
    source = "caffe/" if path.stem.startswith(("deeplab_v1", "deeplab_v2")) else "tensorflow/"
    others = set()
    for training in plan_of(path).trainings:
        model = training.origin.config["model"]["init_args"]
        start, words = model["pretrained"], describe_start(training)
        normalization = model.get("normalization", "imagenet")
        if isinstance(start, str):
            own = entry(start)
            assert words == start if training.source is None else words.endswith(f", from {start}")
            assert (start.startswith(source), own.normalization) == (True, normalization)
            wiring = {name: model.get(name, value) for name, value in PLAIN.items()}
            assert wiring == {name: own.arguments.get(name, value) for name, value in PLAIN.items()}, training.rows
        else:
            others |= set(training.rows)
            publisher, expected = imagenet_publisher(model.get("backbone", "vgg16"))
            assert (publisher in words) == start
            assert not start or normalization == (expected or normalization), training.rows
    assert others == OTHER_STARTS.get(path.stem, others if path.stem.startswith("mobilenet") else set())


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_row_builds(path: Path) -> None:
    """An evaluation's network takes the training's checkpoint."""
    for training in plan_of(path).trainings:
        network = build(training.config)
        for evaluation in training.evaluations.values():
            scored = deepcopy(training.config)
            merge(scored, evaluation.settings)
            assert build(scored) == network


def test_networks_have_as_many_parameters_as_the_papers_print() -> None:
    checked = 0
    for path in TABLES:
        for planned in plan_of(path).rows:
            printed = planned.row.columns.get("parameters")
            if printed and planned.training:
                count = sum(shape.numel() for name, shape in build(planned.training.config).items() if is_trained(name))
                decimals = len(printed.removesuffix("M").partition(".")[2])
                assert f"{count / 1e6:.{decimals}f}M" == printed, planned.row.name
                checked += 1
    assert checked == 16


def is_trained(name: str) -> bool:
    return not name.endswith(("running_mean", "running_var", "num_batches_tracked"))


def test_the_classifier_of_v2_rows_above_large_fov() -> None:
    """It is that of the released COCO weights: 91 classes by a 1x1 convolution."""
    (shape,) = {
        build(training.config)["classifier.0.weight"]
        for name in ("deeplab_v2_table4", "deeplab_v2_table5", "deeplab_v2_figure10")
        for training in plan_table(read_table(TABLES[0].with_name(f"{name}.yaml")), "paper").trainings
        if {"resnet101", "msc", "msc_coco", "msc_coco_aug"} & set(training.rows)
        and training.config["model"]["init_args"]["atrous_rates"] == [1]
    }
    assert shape == (21, 2048, 1, 1)


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_a_row_with_crf_is_normalised_as_released(path: Path) -> None:
    for planned in plan_of(path).rows:
        if planned.evaluation is None:
            continue
        callbacks = planned.evaluation.settings.get("trainer", {}).get("callbacks+", [])
        crfs = [callback["init_args"] for callback in callbacks if callback["class_path"] == "CRFEvaluation"]
        assert all(crf["normalization"] == "after" for crf in crfs), planned.row.name
        if planned.served:
            assert bool(crfs) == ("crf" in planned.row.name.lower()), planned.row.name


@pytest.mark.parametrize("scale", [scale for scale in SCALES if scale != "paper"])
@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_row_parses_at_every_scale(path: Path, scale: str) -> None:
    """Rows that differ from others in values alone, which the paper's scale has as well, are left out."""
    kinds = {
        json.dumps(names(training.config), sort_keys=True): training for training in plan_of(path, scale).trainings
    }
    for training in kinds.values():
        config = parse(training.config)
        assert "VOC" not in config["data"].class_path
        assert "COCO" not in config["data"].class_path


@pytest.mark.parametrize(
    "setting", ["model.init_args.multi_gird", "data.init_args.bach_size", "trainer.max_stepps", "model.class_pth"]
)
def test_a_setting_that_does_not_exist_fails(setting: str) -> None:
    (training,) = plan_table(read_table(TABLES[0].with_name("deeplab_v3_table4.yaml")), "paper").trainings
    merge(training.config, compose([], {setting: 1}))
    with pytest.raises(ArgumentError, match=setting.rpartition(".")[2]):
        parse(training.config)


def test_trainings_are_shared_across_tables() -> None:
    """v3's Table 5, 6, 8, 9 and 10 hold the same training, and v3+'s Table 3 as well."""
    names = ("deeplab_v3_table5", "deeplab_v3_table6", "deeplab_v3_table8", "deeplab_v3_table9", "deeplab_v3_table10")
    found = []
    for name in (*names, "deeplab_v3plus_table3"):
        plan = plan_table(read_table(TABLES[0].with_name(f"{name}.yaml")), "paper")
        found.append(
            {planned.training.name for planned in plan.rows if planned.training and planned.row.paper == 77.21}
        )
    assert len(set.union(*found)) == 1
    assert all(len(each) == 1 for each in found)


def test_the_readme_lists_the_tables() -> None:
    text = (ROOT / "experiments" / "README.md").read_text()
    assert list_of_tables([plan_of(path) for path in TABLES]) in text
