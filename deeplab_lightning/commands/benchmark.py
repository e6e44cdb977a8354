"""`deeplab benchmark`: latency and peak memory of a trained network by several engines."""

import json
import platform
import re
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deeplab_lightning.export.benchmark import Measurement, measure, words
from deeplab_lightning.export.engines import ENGINES
from deeplab_lightning.processors import threads
from deeplab_lightning.segmentation.loading import load
from deeplab_lightning.usage import Parser, count

WIDTH = 110  # characters in the widest line of the table
EPILOG = """eager is torch as it is; channels_last keeps the channels of a pixel together; segment is what `deeplab
segment` runs: channels_last, on a CPU with wide 3x3 convolutions by Winograd's filtering; bf16 is autocast; compiled is
torch.compile, which needs a C++ compiler on a CPU; onnxruntime runs the file of `deeplab export`. The engines run in
turns. Measured is the network alone: without reading, CRF and writing. Peak memory is that of one pass beyond the
weights."""


def run(command: str, options: list[str]) -> int:
    """Measure, and print a table or JSON."""
    arguments = parse(command, options)
    segmenter = load(arguments.model, output_stride=arguments.output_stride, device=arguments.device)
    engines = [ENGINES[name] for name in arguments.engines]
    measured: list[Measurement] = []
    with threads(arguments.threads) as number, Console(stderr=True).status("") as status:
        for height, width in arguments.sizes:
            size = (arguments.batch, height, width)
            measured += measure(segmenter, engines, size, arguments.repeats, on_progress=status.update)
    facts = {
        "model": arguments.model,
        "network": segmenter.description.network,
        "output_stride": segmenter.network.output_stride,
        "processor": processor(),
        "threads": number,
        "torch": torch.__version__,
    }
    if arguments.json:
        print(json.dumps(facts | {"measurements": [each.as_dict() for each in measured]}))
    else:
        _print(facts, measured)
    return 0 if any(not each.skipped for each in measured) else 1


def parse(command: str, options: list[str]) -> Namespace:
    """Parse the options."""
    parser = Parser(
        prog=f"deeplab {command}",
        description="Measure latency and peak memory of a trained network by several engines.",
        epilog=EPILOG,
    )
    add = parser.add_argument
    add("model", help="checkpoint, ONNX file, or name of `deeplab weights list`")
    add(
        "--sizes",
        nargs="+",
        type=size,
        default=[(513, 513)],
        metavar="HxW",
        help="sizes of the image; default: 513x513",
    )
    add("--batch", type=count, default=1, help="images in a pass; default: 1")
    add("--repeats", type=count, default=10, help="timed passes of each engine; default: 10")
    add("--engines", nargs="+", choices=ENGINES, default=list(ENGINES), help="default: all")
    add("--threads", type=count, help="threads of a pass; default: one for each core")
    add("--device", default="auto", help="cpu, cuda or cuda:N; default: the GPU if there is one")
    add("--output_stride", type=int, help="output stride; default: that of the training")
    add("--json", action="store_true", help="print JSON in place of the table")
    return parser.parse_args(options)


def size(text: str) -> tuple[int, int]:
    """Parse HxW, or the side of a square."""
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if not found or not int(found[1]) or found[2] == "0":
        raise ValueError(f"{text} is no size")
    return int(found[1]), int(found[2] or found[1])


def processor() -> str:
    """Return the name of the processor."""
    cpus = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.+)$", cpus.read_text(), re.MULTILINE) if cpus.is_file() else []
    return names[0] if names else platform.processor() or platform.machine()


def _print(facts: dict[str, Any], measured: list[Measurement]) -> None:
    title = f"{facts['model']}: {facts['network']}, output stride {facts['output_stride']}, torch {facts['torch']}"
    table = Table(
        title=escape(title), caption=escape(f"{facts['processor']}, {facts['threads']} threads"), box=SIMPLE_HEAD
    )
    for name in ("engine", "images", "device", "precision"):
        table.add_column(name, no_wrap=True)
    for name in ("median ms", "min ms", "images/s", "peak MB", "equal labels"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in measured:
        table.add_row(each.engine.name, words(each.size), each.device, each.engine.precision, *_numbers(each))
    console = Console(width=max(Console().width, WIDTH), highlight=False)
    console.print(table)
    for each in measured:
        if each.skipped:
            console.print(f"{each.engine.name} at {words(each.size)} was skipped: {each.skipped}", markup=False)


def _numbers(measurement: Measurement) -> tuple[str, ...]:
    if measurement.skipped:
        return ("skipped",)
    values = measurement.as_dict()
    median, memory = values["median_seconds"], measurement.peak_bytes
    return (
        f"{1e3 * median:.1f}",
        f"{1e3 * values['min_seconds']:.1f}",
        f"{measurement.size[0] / median:.2f}",
        "unknown" if memory is None else f"{memory / 1e6:.0f}",
        f"{100 * (measurement.equal_labels or 0):.2f} %",
    )
