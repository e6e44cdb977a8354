"""`deeplab compare`: why two scores differ."""

import json
import logging
import sys
import tempfile
from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from deeplab_lightning.commands.attribution import PROTOCOLS, Attribution, Rescored
from deeplab_lightning.reports.differences import KINDS, Difference, Measurement, differences, read_measurement
from deeplab_lightning.reports.grid import Grid
from deeplab_lightning.reports.terminal import WIDTH
from deeplab_lightning.usage import Parser

DESCRIPTION = """Show where two scores differ: settings of the evaluation, data, training, code and machine, each
with what the papers measured of it, the largest first. With --attribute, the first run is scored again with one part of
the second's evaluation at a time, to see how many points each explains."""
EPILOG = """Examples:
  deeplab compare runs/a runs/b
  deeplab compare runs/a experiments/ablations/deeplab_v3_table6.yaml:stride8 --attribute
  deeplab compare runs/a --attribute --as centre_crop_513 void_as_background"""


def run(command: str, options: list[str]) -> int:
    """Read both sides, print where they differ, and attribute the difference on request."""
    parser = _parser(command)
    arguments = parser.parse_args(options)
    if arguments.second is None and not arguments.attribute:
        parser.error("give a second run or row, or --attribute --as PROTOCOL")
    if arguments.second is not None and arguments.protocols:
        parser.error("--as stands in for a second run or row; leave out one of them")
    if arguments.second is None and not arguments.protocols:
        parser.error(f"--attribute needs a second run or row, or --as with some of {', '.join(PROTOCOLS)}")
    first = read_measurement(arguments.first, arguments.split)
    second = None if arguments.second is None else read_measurement(arguments.second, arguments.split)
    found = [] if second is None else differences(first, second)
    if second is not None and not arguments.json:
        _print_scores(first, second)
        _print_differences(found)
    rescored = _attribute(first, second, arguments) if arguments.attribute else []
    if arguments.json:
        sides = [_side(each) for each in (first, second) if each is not None]
        plain = {"sides": sides, "differences": [each.as_dict() for each in found]}
        print(json.dumps(plain | {"rescored": [each.as_dict() for each in rescored]}, indent=1))
    elif rescored:
        _print_rescored(rescored, second, arguments.images)
    return 0


def _parser(command: str) -> Parser:
    parser = Parser(
        prog=f"deeplab {command}",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    side = "run folder, log folder of an evaluation, or row of a table as FILE.yaml:ROW"
    parser.add_argument("first", help=f"{side}; with --attribute, a run")
    parser.add_argument("second", nargs="?", help=side)
    parser.add_argument("--split", choices=("val", "test"), default="val", help="split of the scores; default: val")
    parser.add_argument("--attribute", action="store_true", help="score the first run again, one part at a time")
    parser.add_argument(
        "--as",
        dest="protocols",
        nargs="+",
        choices=PROTOCOLS,
        default=[],
        metavar="PROTOCOL",
        help=f"with --attribute, in place of a second run: what other projects do: {', '.join(PROTOCOLS)}",
    )
    parser.add_argument("--images", type=int, help="with --attribute: number of images to score; default: all")
    parser.add_argument("--out", type=Path, help="with --attribute: folder that keeps the evaluations")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _attribute(first: Measurement, second: Measurement | None, arguments: Namespace) -> list[Rescored]:
    with tempfile.TemporaryDirectory() as folder, _quiet():
        attribution = Attribution(first, arguments.out or Path(folder), arguments.images)
        parts = {name: PROTOCOLS[name] for name in arguments.protocols}
        if second is not None:
            parts = attribution.changes(second)
        rescored = []
        for each in attribution.rescored(parts):
            print(f"{each.part}: {each.remark or f'{each.miou:.2f}'}", file=sys.stderr)
            rescored.append(each)
        return rescored


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning from printing the same lines for each evaluation."""
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def _side(side: Measurement) -> dict[str, object]:
    scores = {str(name): value for name, value in side.scores.items()}
    return {"name": side.name, "scores": scores, "identity": side.identity}


def _print_scores(first: Measurement, second: Measurement) -> None:
    rows = []
    for name in dict.fromkeys([*first.scores, *second.scores]):
        if name.kind == "miou":
            one, two = first.scores.get(name), second.scores.get(name)
            difference = "" if one is None or two is None else f"{100 * (two - one):+.2f}"
            rows.append([str(name), *("" if each is None else f"{100 * each:.2f}" for each in (one, two)), difference])
    grid = Grid(["mIoU in percent", first.name, second.name, "difference"], rows)
    _print(grid.for_terminal("", right=grid.headings[1:], no_wrap=grid.headings))


def _print_differences(found: Sequence[Difference]) -> None:
    rows = []
    for kind in KINDS:
        for number, each in enumerate(difference for difference in found if difference.kind == kind):
            effect = "" if each.effect is None else str(each.effect)
            rows.append(["" if number else kind, each.short_name, each.first, each.second, effect])
    if not rows:
        _print("Nothing is known to differ.")
        return
    grid = Grid(["differs", "setting or property", "first", "second", "points in the papers"], rows)
    _print(grid.for_terminal("", no_wrap=grid.headings[:2]))


def _print_rescored(rescored: Sequence[Rescored], second: Measurement | None, images: int | None) -> None:
    rows = []
    for each in rescored:
        numbers = [
            "" if each.miou is None else f"{each.miou:.2f}",
            "" if each.points is None else f"{each.points:+.2f}",
        ]
        rows.append([each.part, *numbers, each.remark])
    last = [each for each in rescored if each.miou is not None and not each.is_recount][-1]
    if images is None and second is not None and second.miou is not None and last.miou is not None:
        theirs = 100 * second.miou[1]
        rows.append(["what remains", f"{theirs:.2f}", f"{theirs - last.miou:+.2f}", "training, data, code, machine"])
    title = "the first run, scored again" + (f" on {images} images" if images is not None else "")
    grid = Grid(["with this part of the second's evaluation", "mIoU", "points", ""], rows)
    _print(grid.for_terminal(title, right=("mIoU", "points")))


def _print(content: Table | str) -> None:
    console = Console(highlight=False)
    Console(width=max(console.width, WIDTH), highlight=False).print(content)
