"""`deeplab export`: write a trained model as one file that other programs run, after comparing it with the network."""

import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from deeplab_lightning.datasets.segmentation import SegmentationDataset
from deeplab_lightning.export.check import SIZES, Agreement, ExportError
from deeplab_lightning.export.cost import mean_ious
from deeplab_lightning.export.exported_program import write_exported_program
from deeplab_lightning.export.graph import ExportedNetwork
from deeplab_lightning.export.onnx import OPSET, Precision, open_graph, write_onnx, write_reduced
from deeplab_lightning.export.web.page import check_model, read_example, write_page
from deeplab_lightning.segmentation.addresses import fetched
from deeplab_lightning.segmentation.graph_file import Inputs, Interface, Outputs
from deeplab_lightning.segmentation.inputs import find_inputs
from deeplab_lightning.segmentation.loading import load
from deeplab_lightning.segmentation.onnx_network import Session
from deeplab_lightning.segmentation.segmenter import Segmenter
from deeplab_lightning.segmentation.tiles import LARGEST_WHOLE
from deeplab_lightning.usage import Parser, UsageError

FORMATS = {"onnx": ".onnx", "torch": ".pt2", "html": ".html"}
MOST_CALIBRATED = 64  # images, evenly spread over the folder; a few dozen show the ranges of all features
INPUTS_HELP = "normalized images (B, C, H, W), or pixels (B, H, W, C) as stored, normalised inside; default: normalized"
OUTPUTS_HELP = "logits, probabilities (B, K, H, W), or labels (B, H, W), uint8; default: logits"
PRECISION_HELP = (
    "half: weights of 16 bits, half the size; int8: 8 bits, a quarter, and faster on CPUs; default: float32, and for "
    "a page half, or int8 with --calibration"
)
EPILOG = """The file takes images of any batch, height and width, and holds the description of the model: classes,
colours, normalisation, score. It is compared with the network at odd sizes and other batches, and kept only if they
agree. An ONNX file with the default inputs and outputs takes the place of a checkpoint in `deeplab segment`. A page
(--out NAME.html) is one file with the network, onnxruntime-web and the dense CRF: it segments pictures in the browser
of whoever opens it, without a server or a network connection. --data.NAME sets an argument of the data of -c."""


def run(command: str, options: list[str]) -> int:
    """Export the model, and print what was compared and written."""
    arguments, settings = parse(command, options)
    started = time.perf_counter()
    segmenter = load(arguments.model, output_stride=arguments.output_stride, device="cpu")
    try:
        network = ExportedNetwork(segmenter, Interface(arguments.inputs, arguments.outputs)).eval()
        if arguments.format == "html":
            check_model(segmenter.description)
    except ValueError as error:
        raise ValueError(f"{arguments.model}: {error}") from error
    examples = [read_example(each, segmenter.reader) for each in arguments.examples]
    batches = _calibration(arguments.calibration, network) if arguments.calibration else []
    data = _data(arguments.config, settings, segmenter) if arguments.config else None
    page = None
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    # Beside the page, so that a folder in which nothing can be written is found before the export, and not after it
    with TemporaryDirectory(dir=arguments.out.parent, prefix=f".{arguments.out.name}.") as folder:
        graph = Path(folder) / "page.onnx" if arguments.format == "html" else arguments.out
        with Console(stderr=True).status("exporting, which takes a minute for a deep network"):
            agreement, reduced = _write(arguments, segmenter, graph, batches)
            if arguments.format == "html":
                page = write_page(graph, arguments.out, examples)
        _print_agreement(arguments, agreement, reduced, len(batches))
        if data is not None:
            _print_cost(network, open_graph(graph, network), data, arguments.precision)
    seconds = time.perf_counter() - started
    if page is None:
        _print_file(arguments, seconds)
    else:
        print(f"wrote {arguments.out}: {page}, {arguments.precision}, in {seconds:.0f} s")
    return 0


def parse(command: str, options: list[str]) -> tuple[Namespace, list[str]]:
    """Parse the options, and return the settings of the data with them.

    Raises:
        UsageError: An option is wrong, or would have no effect.
    """
    parser = Parser(
        prog=f"deeplab {command}",
        description="Write a trained model as one file for onnxruntime, for torch without this package, or for a page.",
        epilog=EPILOG,
    )
    add = parser.add_argument
    add("model", help="checkpoint of `deeplab fit`, such as runs/demo/best.ckpt, or a name of `deeplab weights list`")
    add("--out", type=Path, required=True, help="file to write: NAME.onnx, NAME.pt2 for torch, or NAME.html, a page")
    add("--format", choices=FORMATS, help="onnx, torch (torch.export), or html; default: by the suffix of --out")
    add("--inputs", choices=get_args(Inputs), default="normalized", help=INPUTS_HELP)
    add("--outputs", choices=get_args(Outputs), default="logits", help=OUTPUTS_HELP)
    add("--output_stride", type=int, help="output stride; default: that of the training")
    add("--precision", choices=("float32", *get_args(Precision)), help=PRECISION_HELP)
    add("--calibration", metavar="FOLDER", help="images like those to come, by which int8 is calibrated")
    add("--examples", metavar="FILE", nargs="+", type=Path, default=[], help="pictures in the page, shown by a click")
    add("-c", "--config", action="append", type=Path, help="YAML file with data, on whose val split the file is scored")
    arguments, settings = parser.parse_known_args(options)
    if not arguments.config and settings:
        parser.parse_args(options)  # which refuses them
    suffix = arguments.out.suffix
    if arguments.format is None:
        arguments.format = next((name for name, own in FORMATS.items() if own == suffix), None)
    if arguments.format is None or FORMATS[arguments.format] != suffix:
        raise UsageError(
            f"--out {arguments.out}: the name of the file must end in .onnx, in .pt2 for torch, or in .html for a page"
        )
    if arguments.out.is_dir():
        raise UsageError(f"--out {arguments.out} is a folder; name a file")
    if arguments.model.endswith(tuple(FORMATS.values())):
        raise UsageError(f"{arguments.model} is exported already; give the checkpoint that it was made from")
    _check(arguments)
    return arguments, settings


def _check(arguments: Namespace) -> None:
    """Refuse options that do not go together, and choose the precision."""
    is_page, is_calibrated = arguments.format == "html", arguments.calibration is not None
    if arguments.precision is None:
        arguments.precision = ("int8" if is_calibrated else "half") if is_page else "float32"
    if arguments.format == "torch" and (arguments.precision != "float32" or arguments.config):
        raise UsageError("--precision and -c need an ONNX file or a page; write one with --out NAME.onnx")
    if (arguments.precision == "int8") != is_calibrated:
        raise UsageError("--precision int8 and --calibration FOLDER go together: 8 bits need the ranges of your images")
    if is_page and Interface(arguments.inputs, arguments.outputs) != Interface():
        raise UsageError("--inputs and --outputs are those of a graph for other programs; a page has its own")
    if arguments.examples and not is_page:
        raise UsageError("--examples are pictures in a page; write one with --out NAME.html")


def _write(
    arguments: Namespace, segmenter: Segmenter, path: Path, batches: list[Tensor]
) -> tuple[Agreement, Agreement | None]:
    interface = Interface(arguments.inputs, arguments.outputs)
    try:
        if arguments.format == "torch":
            return write_exported_program(segmenter, path, interface), None
        if arguments.precision == "float32":
            return write_onnx(segmenter, path, interface), None
        return write_reduced(segmenter, path, arguments.precision, interface, batches=batches)
    except ExportError as error:
        raise ExportError(f"{arguments.out}: {error}") from error


def _print_agreement(
    arguments: Namespace, agreement: Agreement, reduced: Agreement | None, num_calibrated: int
) -> None:
    sizes = ", ".join("x".join(map(str, size)) for size in SIZES)
    print(f"at {sizes}: {agreement}")
    if reduced is not None:
        images = f"{num_calibrated} calibration images" if num_calibrated else sizes
        print(f"{arguments.precision} at {images}: {reduced}")


def _calibration(folder: str, network: ExportedNetwork) -> list[Tensor]:
    """Read the calibration images as inputs; the middle of those that are too large for one pass."""
    paths = [item.path for item in find_inputs([folder]).items if not item.is_video]
    if not paths:
        raise UsageError(f"{folder}: it holds no image to calibrate with")
    count = min(MOST_CALIBRATED, len(paths))
    batches = []
    for index in range(count):
        with fetched(paths[index * len(paths) // count]) as path:
            pixels = network.reader.read(path).pixels
        height, width = pixels.shape[:2]
        side = int(LARGEST_WHOLE**0.5)
        if height * width > LARGEST_WHOLE:
            top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
            pixels = pixels[top : top + side, left : left + side]
        batches.append(network.inputs_of(pixels))
    return batches


def _data(configs: list[Path], settings: list[str], segmenter: Segmenter) -> SegmentationDataset:
    from deeplab_lightning.settings.part import build_part  # here because it imports Lightning

    data = build_part("data", configs, settings, {})
    if tuple(data.class_names) != segmenter.class_names:
        raise UsageError(
            f"{', '.join(map(str, configs))}: the classes of the data are {', '.join(data.class_names)}, those of the "
            f"model {', '.join(segmenter.class_names)}"
        )
    dataset: SegmentationDataset = data.dataset(data.splits["val"], data.eval_transform)
    return dataset


def _print_cost(
    network: ExportedNetwork, run_graph: Callable[[Tensor], Tensor], data: SegmentationDataset, precision: str
) -> None:
    columns = (TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=len(data))
        whole, own = mean_ious(network, run_graph, data, lambda: progress.advance(bar))
    print(
        f"mIoU on {len(data)} images of the val split: {100 * whole:.2f} of the network, {100 * own:.2f} of the file "
        f"in {precision} ({100 * (own - whole):+.2f})"
    )


def _print_file(arguments: Namespace, seconds: float) -> None:
    size = f"{arguments.out.stat().st_size / 1e6:.1f} MB"
    if arguments.format == "torch":
        print(f"wrote {arguments.out}: {size}, torch {torch.__version__}, in {seconds:.0f} s")
        return
    session = Session(arguments.out)
    print(f"wrote {arguments.out}: {size}, ONNX opset {OPSET}, {arguments.precision}, in {seconds:.0f} s")
    for kind, values in (("takes", session.inputs), ("gives", session.outputs)):
        for name, (element, shape) in values.items():
            print(f"  {kind} {name}: {element} ({', '.join(map(str, shape))})")
