"""Every table under experiments/ablations/: as many rows as the paper's, each one able to train and to be scored."""

import json
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentError, ArgumentParser
from lightning import Trainer
from torch import nn

from deeplab_lightning.ablation.compare import list_of_tables
from deeplab_lightning.ablation.plan import SCALES, PlannedRow, merge, nest, plan_table
from deeplab_lightning.ablation.table import read_table
from deeplab_lightning.cli import CALLBACKS, DATAMODULES, MODULES
from deeplab_lightning.datamodules.base import SegmentationDataModule
from deeplab_lightning.models.resnet import ResNet, StrideUnit
from deeplab_lightning.modules.base import SegmentationModule
from tests.integration.conftest import ROOT

TABLES = sorted((ROOT / "experiments" / "ablations").glob("*.yaml"))
# rows of the paper (stages of a training are not), of which references or private, and trainings
COUNTS = {
    "deeplab_v1_table1a": (10, 0, 5),
    "deeplab_v1_table1b": (8, 3, 5),
    "deeplab_v1_table2": (8, 0, 4),
    "deeplab_v2_figure10": (4, 0, 3),
    "deeplab_v2_table2": (5, 0, 5),
    "deeplab_v2_table3": (6, 0, 3),
    "deeplab_v2_table4": (7, 0, 7),
    "deeplab_v2_table5": (18, 17, 2),
    "deeplab_v3_figure7": (2, 0, 2),
    "deeplab_v3_table1": (6, 0, 6),
    "deeplab_v3_table2": (8, 0, 8),
    "deeplab_v3_table3": (20, 0, 20),
    "deeplab_v3_table4": (4, 0, 1),
    "deeplab_v3_table5": (5, 0, 5),
    "deeplab_v3_table6": (5, 0, 3),
    "deeplab_v3_table7": (17, 16, 3),
    "deeplab_v3_table8": (4, 0, 4),
    "deeplab_v3_table9": (4, 0, 4),
    "deeplab_v3_table10": (6, 0, 3),
    "deeplab_v3plus_table1": (5, 0, 5),
    "deeplab_v3plus_table2": (6, 0, 6),
    "deeplab_v3plus_table3": (14, 0, 4),
    "deeplab_v3plus_table5": (24, 4, 5),
    "deeplab_v3plus_table6": (13, 12, 3),
    "mobilenet_v2_table7": (7, 3, 4),
}
# all numbers of a table in the order of its rows, as the paper prints them; the figures have none
NUMBERS = {
    "deeplab_v1_table1a": "59.80 63.74 61.30 65.21 64.38 67.64 62.25 67.64 64.21 68.70",
    "deeplab_v1_table1b": "61.8 62.2 64.4 66.4 67.1 70.3 70.3 71.6",
    "deeplab_v1_table2": "64.38 67.64 59.80 63.74 63.41 67.14 62.25 67.64",
    "deeplab_v2_table2": "62.25 63.42 64.90 64.71 65.88",
    "deeplab_v2_table3": "65.76 69.84 66.98 69.73 68.96 71.57",
    "deeplab_v2_table4": "68.72 71.27 73.28 74.87 75.54 76.35 77.69",
    "deeplab_v2_table5": "72.7 73.2 74.7 74.8 75.2 75.3 75.5 75.7 76.0 76.3 76.8 76.8 77.5 77.8 77.9 78.1 79.1 79.7",
    "deeplab_v3_table1": "75.18 73.88 70.06 59.99 42.34 20.29",
    "deeplab_v3_table2": "64.81 72.14 74.29 73.88 68.39 73.21 75.34 75.76",
    "deeplab_v3_table3": "68.39 73.21 75.34 75.76 70.23 75.67 76.09 76.66 73.14 75.78 75.96 76.11 "
    "73.45 75.74 75.85 76.02 71.45 74.30 74.70 74.62",
    "deeplab_v3_table4": "76.66 78.05 78.93 79.35",
    "deeplab_v3_table5": "75.36 75.93 76.58 76.46 77.21",
    "deeplab_v3_table6": "77.21 78.51 79.45 79.77 82.70",
    "deeplab_v3_table7": "79.1 79.3 79.7 80.2 81.4 81.8 82.7 83.1 83.6 84.2 84.9 85.4 86.3 86.6 86.8 85.7 86.9",
    "deeplab_v3_table8": "77.21 75.95 76.01 67.22",
    "deeplab_v3_table9": "64.43 75.76 76.49 77.21",
    "deeplab_v3_table10": "74.45 77.21 75.90 75.62 78.51 75.75",
    "deeplab_v3plus_table1": "77.61 77.92 78.16 78.21 77.94",
    "deeplab_v3plus_table2": "78.21 78.85 78.02 77.25 78.07 78.61",
    "deeplab_v3plus_table3": "77.21 78.51 79.45 79.77 78.85 80.09 80.22 79.35 80.43 80.57 75.43 77.37 77.80 77.92",
    "deeplab_v3plus_table5": "79.17 80.57 80.79 79.64 81.15 81.34 79.93 81.38 81.44 80.22 81.60 81.63 "
    "79.79 81.21 80.02 81.39 82.20 83.34 82.45 83.58 83.03 84.22 83.39 84.56",
    "deeplab_v3plus_table6": "82.7 83.1 83.6 84.2 84.9 85.4 86.3 86.6 86.8 85.7 86.9 87.8 89.0",
    "mobilenet_v2_table7": "75.70 78.42 75.32 77.33 80.25 70.19 71.83",
}
# what else the paper prints, row by row, a dash where that is nothing
COLUMNS = {
    "deeplab_v1_table2": "7x7 4 224 134.3M 1.44 " * 2
    + "4x4 4 128 65.1M 2.9 " * 2
    + "4x4 8 224 65.1M 2.9 " * 2
    + "3x3 12 224 20.5M 4.84 " * 2,
    "deeplab_v3plus_table3": "81.02B 276.18B 2435.37B 4870.59B 101.28B 898.69B 1797.23B 297.92B 2623.61B 5247.07B "
    "52.43B 74.20B 101.28B 297.92B",
    "deeplab_v3plus_table5": "68.00B - - 240.85B - - 89.76B - - 262.59B - - 54.17B 928.81B 177.10B 3055.35B "
    "- - - - - - - -",
    "mobilenet_v2_table7": "4.52M 5.8B 4.52M 2.11M 2.75B 2.11M 152.59B - 0.88B -",
}
# the rows of which something is uncertain, apart from their rates
UNCERTAIN = {
    "deeplab_v1_table1a": {
        "deeplab_msc",
        "deeplab_msc_crf",
        "deeplab_7x7",
        "deeplab_crf_7x7",
        "deeplab_msc_largefov",
        "deeplab_msc_crf_largefov",
    },
    "deeplab_v1_table1b": {
        "DeepLab-CRF",
        "DeepLab-MSc-CRF",
        "DeepLab-CRF-7x7",
        "DeepLab-CRF-LargeFOV",
        "DeepLab-MSc-CRF-LargeFOV",
    },
    "deeplab_v1_table2": {"7x7_rate4", "7x7_rate4_crf", "4x4_rate8", "4x4_rate8_crf"},
    "deeplab_v2_figure10": {"vgg16", "vgg16_crf", "resnet101", "resnet101_crf"},
    "deeplab_v2_table2": {"step_30_6k", "poly_30_6k", "poly_30_10k", "poly_10_10k", "poly_10_20k"},
    "deeplab_v2_table3": {"largefov", "largefov_crf", "aspp_s", "aspp_s_crf", "aspp_l", "aspp_l_crf"},
    "deeplab_v2_table4": {
        "resnet101",
        "msc",
        "msc_coco",
        "msc_coco_aug",
        "msc_coco_aug_largefov",
        "msc_coco_aug_aspp",
        "msc_coco_aug_aspp_crf",
    },
    "deeplab_v2_table5": {"DeepLab-CRF (ResNet-101)"},
    "deeplab_v3_figure7": {"bootstrapping"},
    "deeplab_v3_table5": {"mg124_rate24", "mg124_image_pooling"},
    "deeplab_v3_table6": {"coco_stride8_ms_flip"},
    "deeplab_v3_table7": {"DeepLabv3"},
    "deeplab_v3_table8": {"crop321"},
    "deeplab_v3plus_table3": {"train16_evaluate16_d", "train32_evaluate16_d"},
    "deeplab_v3plus_table5": {
        "stride16_d_sc_coco",
        "stride16_d_sc_ms_flip_coco",
        "stride8_d_sc_coco",
        "stride8_d_sc_ms_flip_coco",
    },
    "deeplab_v3plus_table6": {"DeepLabv3+ (Xception)"},
    "mobilenet_v2_table7": {"aspp_stride16", "aspp_stride8_ms_flip", "stride16", "stride8_ms_flip"},
}
RATES = "an atrous block's first 3x3 has half the paper's rate, as ImageNet's weights stride there"


@cache
def parser() -> ArgumentParser:
    """A parser of one experiment that refuses what it does not know."""
    assert CALLBACKS + DATAMODULES + MODULES  # imported so that their short names work
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(SegmentationModule, "model")
    parser.add_subclass_arguments(SegmentationDataModule, "data", instantiate=False)
    parser.add_class_arguments(Trainer, "trainer", instantiate=False)
    return parser


def parse(config: dict[str, Any]) -> Any:
    """The settings as the commands would understand them."""
    config = deepcopy(config)
    config["model"]["init_args"] |= {"num_classes": 21, "pretrained": False}
    return parser().parse_object(config)


@cache
def shapes(model: str) -> dict[str, torch.Size]:
    """The tensors of the network of a model's settings, as JSON, built on no device."""
    networks = ArgumentParser(exit_on_error=False)
    networks.add_subclass_arguments(SegmentationModule, "model")
    with torch.device("meta"):
        built = networks.instantiate(networks.parse_object({"model": json.loads(model)})).model
    assert built.network.num_classes == 21
    return {name: tensor.shape for name, tensor in built.network.state_dict().items()}


def build(config: dict[str, Any]) -> dict[str, torch.Size]:
    """Parse all settings, and build the network; scales and flip do not change it."""
    parse(config)
    model = deepcopy(config["model"])
    model["init_args"] |= {"num_classes": 21, "pretrained": False}
    for name in ("scales", "flip", "lr"):
        model["init_args"].pop(name, None)
    return shapes(json.dumps(model, sort_keys=True))


@cache
def rates(resnet: str, stride_unit: StrideUnit) -> list[Any]:
    """The dilations of a ResNet of these arguments, as JSON, whose blocks stride in that unit."""
    with torch.device("meta"):
        trunk = ResNet(**json.loads(resnet), stride_unit=stride_unit)
    return [layer.dilation for layer in trunk.modules() if isinstance(layer, nn.Conv2d)]


def has_other_rates(planned: PlannedRow) -> bool:
    """Whether it trains or is scored with rates other than v3's, whose blocks stride in their last unit."""
    if planned.training is None or planned.row.stage:
        return False
    config = deepcopy(planned.training.config)
    changed = []
    for settings in ({}, planned.evaluation.settings if planned.evaluation else {}):
        merge(config, settings)
        args = config["model"]["init_args"]
        if "stride_unit" in args and args["backbone"].startswith("resnet"):
            own = {name: args[name] for name in ("output_stride", "multi_grid", "num_blocks") if name in args}
            resnet = json.dumps({"depth": int(args["backbone"].removeprefix("resnet")), **own})
            changed.append(rates(resnet, args["stride_unit"]) != rates(resnet, "last"))
    return any(changed)


def test_all_tables_are_known() -> None:
    assert {path.stem for path in TABLES} == set(COUNTS)
    assert {*NUMBERS, *COLUMNS, *UNCERTAIN} <= set(COUNTS)


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_rows_are_the_papers(path: Path) -> None:
    table = read_table(path)
    rows = [row for row in table.rows if row.stage is None]
    references = [row for row in rows if row.train is None]
    assert (len(rows), len(references), len(plan_table(table, "paper").trainings)) == COUNTS[path.stem]
    numbers = [row.paper for row in rows if row.paper is not None]
    assert numbers == [float(number) for number in NUMBERS.get(path.stem, "").split()]
    columns = " ".join(str(value) for row in rows for value in row.columns.values() or "-")
    assert columns.split() == COLUMNS.get(path.stem, "- " * len(rows)).split()
    assert f"deeplab ablate experiments/ablations/{path.name}" in path.read_text()  # the header says how to run it


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_rows_say_what_stands_against_their_number(path: Path) -> None:
    table = read_table(path)
    uncertain = {row.name: row.uncertain.removesuffix(RATES) for row in table.rows if row.uncertain}
    assert {name for name, text in uncertain.items() if text} == UNCERTAIN.get(path.stem, set())
    for row in table.rows:
        assert bool(row.not_reproducible) == ("jft" in row.name.lower())
        assert row.metric.startswith("server/") == ("VOC 2012 test" in f"{table.title} {row.note}")
    rates = {row.name for row in table.rows if (row.uncertain or "").endswith(RATES)}
    assert rates == {planned.row.name for planned in plan_table(table, "paper").rows if has_other_rates(planned)}


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_row_builds(path: Path) -> None:
    """An evaluation's network takes the training's checkpoint."""
    for training in plan_table(read_table(path), "paper").trainings:
        network = build(training.config)
        for evaluation in training.evaluations.values():
            scored = deepcopy(training.config)
            merge(scored, evaluation.settings)
            assert build(scored) == network


@pytest.mark.parametrize("scale", [scale for scale in SCALES if scale != "paper"])
@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_row_parses_at_every_scale(path: Path, scale: str) -> None:
    for training in plan_table(read_table(path), scale).trainings:
        config = parse(training.config)
        assert "VOC" not in config.data.class_path
        assert "COCO" not in config.data.class_path


@pytest.mark.parametrize(
    "setting", ["model.init_args.multi_gird", "data.init_args.bach_size", "trainer.max_stepps", "model.class_pth"]
)
def test_a_setting_that_does_not_exist_fails(setting: str) -> None:
    (training,) = plan_table(read_table(TABLES[0].with_name("deeplab_v3_table4.yaml")), "paper").trainings
    merge(training.config, nest({setting: 1}))
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


def test_the_list_in_the_readme_is_that_of_the_files() -> None:
    text = (ROOT / "experiments" / "README.md").read_text()
    assert list_of_tables([read_table(path) for path in TABLES]) in text
