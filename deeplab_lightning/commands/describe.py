"""`deeplab describe`: count parameters and multiply-adds of a network and its receptive field, without running it."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deeplab_lightning.models.layers import SegmentationNetwork
from deeplab_lightning.models.profile import Profile, profile
from deeplab_lightning.packaged import find_experiment
from deeplab_lightning.settings.part import build_part
from deeplab_lightning.usage import Parser

FAMILY = "experiments/model"
FAMILY_WIDTH = 130  # characters in the widest line of the family's table
LAYER_COLUMNS = ("convolution", "output", "kernel", "rate", "parameters", "multiply-adds", "padded")


def run(command: str, options: list[str]) -> int:
    """Print the profile of one network, or the profiles of the whole family in one table."""
    parser = Parser(
        prog=f"deeplab {command}",
        description="Count the parameters and multiply-adds of a network and compute its receptive field. For v1, the "
        "multiply-adds are those of the training net.",
        epilog="Settings are given as for the other commands: --model.output_stride 8 --model.atrous_rates [12,24,36]",
    )
    parser.add_argument("-c", "--config", action="append", type=Path, help="YAML file with a model; later ones win")
    parser.add_argument("--all", action="store_true", help=f"describe all models in {FAMILY} in one table")
    parser.add_argument("--crop", type=int, default=513, metavar="PIXELS", help="side of the image; default: 513")
    parser.add_argument("--num_classes", type=int, default=21, help="classes with the background; default: 21")
    parser.add_argument("--layers", action="store_true", help="print a table of all convolutions as well")
    parser.add_argument("--json", action="store_true", help="print JSON in place of tables")
    arguments, settings = parser.parse_known_args(options)
    if arguments.all == bool(arguments.config):
        parser.error("give either -c FILE or --all")
    if arguments.all:
        folder = find_experiment(FAMILY)
        files = sorted(folder.glob("*.yaml"))
        if not files:
            raise FileNotFoundError(f"{folder.resolve()}: no YAML files")
        rows = [_describe(path.stem, [path], settings, arguments) for path in files]
        print(json.dumps([row for row, _ in rows])) if arguments.json else _print_family([row for row, _ in rows])
        return 0
    row, profiled = _describe(arguments.config[-1].stem, arguments.config, settings, arguments)
    if arguments.json:
        print(json.dumps(row | ({"layers": [vars(layer) for layer in profiled.layers]} if arguments.layers else {})))
    else:
        _print_network(row, profiled, arguments)
    return 0


def _describe(
    name: str, configs: list[Path], settings: list[str], arguments: Namespace
) -> tuple[dict[str, Any], Profile]:
    network = build(configs, settings, arguments.num_classes)
    profiled = profile(network, arguments.crop, arguments.crop)
    row = {
        "name": name,
        "parameters": profiled.parameters,
        "parameters_by_part": profiled.parameters_by_part,
        "multiply_adds": profiled.multiply_adds,
        "multiply_adds_published_convention": profiled.multiply_adds_published_convention,
        "output_stride": network.output_stride,
        "field_of_view": network.field_of_view,
        "receptive_field": profiled.receptive_field,
        "feature_size": list(profiled.feature_size),
    }
    return row, profiled


def build(configs: list[Path], settings: list[str], num_classes: int) -> SegmentationNetwork:
    """Build the network that the files describe on the meta device; later files override earlier ones."""
    changes = {"num_classes": num_classes, "pretrained": False, "start_from": None}
    with torch.device("meta"):
        network: SegmentationNetwork = build_part("model", configs, settings, changes).network
    return network


def _print_network(row: dict[str, Any], profiled: Profile, arguments: Namespace) -> None:
    console = Console()
    crop = arguments.crop
    parts = ", ".join(f"{part} {count:,}" for part, count in profiled.parameters_by_part.items())
    table = Table(title=f"{escape(row['name'])}, {arguments.num_classes} classes, {crop}x{crop}", show_header=False)
    table.add_row("parameters", f"{row['parameters']:,}")
    table.add_row("", parts)
    table.add_row("multiply-adds", _billions(row["multiply_adds"]))
    published = _billions(row["multiply_adds_published_convention"])
    table.add_row("", f"{published} as v3 and v3+ count them, atrous convolutions padded to multiples of the rate")
    table.add_row("output stride", str(row["output_stride"]))
    table.add_row("feature size", "x".join(map(str, row["feature_size"])))
    if row["field_of_view"]:
        table.add_row("field of view", f"{row['field_of_view']} px, of the classifier as v1 counts it")
    table.add_row("receptive field", _pixels(row["receptive_field"]))
    console.print(table)
    if arguments.layers:
        layers = Table(*LAYER_COLUMNS)
        for layer in profiled.layers:
            counts = (f"{layer.parameters:,}", f"{layer.multiply_adds:,}", f"{layer.multiply_adds_padded:,}")
            shape, kernel = ("x".join(map(str, sides)) for sides in (layer.shape, layer.kernel_size))
            layers.add_row(layer.name, shape, kernel, str(layer.rate), *counts)
        console.print(layers)


def _print_family(rows: list[dict[str, Any]]) -> None:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("model", no_wrap=True)
    for name in ("parameters", "multiply-adds", "as published", "stride", "features", "view", "receptive field"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            escape(row["name"]),
            f"{row['parameters']:,}",
            _billions(row["multiply_adds"]),
            _billions(row["multiply_adds_published_convention"]),
            str(row["output_stride"]),
            "x".join(map(str, row["feature_size"])),
            str(row["field_of_view"] or ""),
            _pixels(row["receptive_field"]),
        )
    Console(width=max(Console().width, FAMILY_WIDTH)).print(table)


def _billions(count: int) -> str:
    return f"{count / 1e9:.2f} B"


def _pixels(receptive_field: int | None) -> str:
    return "whole image" if receptive_field is None else f"{receptive_field} px"
