"""`deeplab segment`: write the label maps of images and videos of any kind, number and size."""

import os
import sys
from argparse import Namespace
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from deeplab_lightning.segmentation.addresses import located
from deeplab_lightning.segmentation.inputs import Inputs, find_inputs, of_shard
from deeplab_lightning.segmentation.loading import load
from deeplab_lightning.segmentation.manifest import open_manifest
from deeplab_lightning.segmentation.pipeline import Pipeline, Tally
from deeplab_lightning.segmentation.ray_pipeline import RayPipeline
from deeplab_lightning.segmentation.segmenter import Method, Segmenter
from deeplab_lightning.segmentation.stages import Stages
from deeplab_lightning.segmentation.writers import Kind
from deeplab_lightning.usage import Parser, UsageError, count

SHOWN = 20  # failures that are printed
VALUE_RANGE_HELP = "values that stand for black and white in images of more than 8 bits; default: those of the training"
OPTIONAL: dict[Kind, str] = {
    "overlays": "the classes drawn over the image, with a legend: overlays/NAME.jpg",
    "confidence": "8-bit maps of the probability of the class of each pixel: confidence/NAME.png",
    "probabilities": "probabilities (K, H, W) of all classes, float16: probabilities/NAME.npz",
    "polygons": "COCO annotations with polygons or run lengths: polygons/NAME.json",
}
EPILOG = """Label maps are palette PNGs of the input's size, whose values are the class indices: masks/NAME.png. Those
of a video are a lossless grey video, masks/NAME.mkv, with overlays/NAME.mp4 beside it. The folders of the inputs are
kept. The same command started again, after any interruption, goes on: manifest.jsonl holds what is finished."""


class Rate(ProgressColumn):
    """The number of files a second."""

    def render(self, task: Task) -> Text:
        """Render the rate."""
        return Text(f"{task.speed or 0:.1f} images/s")


def run(command: str, options: list[str]) -> int:
    """Segment the inputs, and report what was skipped and what failed."""
    arguments = parse(command, options)
    inputs = find_inputs(arguments.inputs, sys.stdin if "-" in arguments.inputs else (), arguments.out)
    segmenter = load(
        arguments.model,
        output_stride=arguments.output_stride,
        device="cpu" if arguments.engine == "ray" else arguments.device,
        value_range=tuple(arguments.value_range) if arguments.value_range else None,
    )
    scales = tuple(arguments.scales)
    how = segmenter.method(arguments.crf, scales=scales, flip=arguments.flip, tile=arguments.tile)
    pipeline = ENGINES[arguments.engine](segmenter, how, arguments)
    index, count = arguments.shard
    items = of_shard(inputs.items, index, count)
    if arguments.job and count > 1:
        part = f"shard {index}/{count} of {arguments.job}: {len(items)} of {len(inputs.items)} files"
        print(f"{part}; --shard 0/1 does all", file=sys.stderr)
    columns = (TextColumn("segmenting"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with open_manifest(arguments.out, arguments.shard) as manifest:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            bar = progress.add_task("", total=len(items))
            tally = pipeline.run(items, manifest, lambda number: progress.advance(bar, number))
        if arguments.csv:
            manifest.write_areas()
    _report(inputs, tally, arguments)
    return 1 if tally.failed else 0


def on_threads(segmenter: Segmenter, how: Method, arguments: Namespace) -> Pipeline:
    """Return the pipeline of threads."""
    size, workers = arguments.batch_size, arguments.workers
    return Pipeline(segmenter, arguments.out, how, kinds_of(arguments), batch_size=size, workers=workers)


def on_ray(segmenter: Segmenter, how: Method, arguments: Namespace) -> RayPipeline:
    """Return the pipeline on a cluster."""
    size = arguments.batch_size
    stages = Stages(segmenter, arguments.out, how, kinds_of(arguments), batch_size=size, crf_in_writing=True)
    return RayPipeline(segmenter, stages, device=arguments.device, workers=arguments.workers)


ENGINES: dict[str, Callable[[Segmenter, Method, Namespace], Pipeline | RayPipeline]] = {
    "threads": on_threads,
    "ray": on_ray,
}


def kinds_of(arguments: Namespace) -> list[Kind]:
    """Return the kinds of files to write."""
    return ["masks", *(kind for kind in OPTIONAL if getattr(arguments, kind))]


def parse(command: str, options: list[str]) -> Namespace:
    """Parse the options."""
    parser = Parser(
        prog=f"deeplab {command}", description="Segment images and videos with a trained model.", epilog=EPILOG
    )
    add = parser.add_argument
    add("model", help="checkpoint, such as runs/demo/best.ckpt; folder of `deeplab hub save`; OWNER/NAME on the hub")
    add("inputs", nargs="+", metavar="INPUT", help="files, folders, patterns ('a/**/*.jpg'), - for a list on stdin")
    add("--out", type=located, required=True, help="output folder; it and inputs may be fsspec addresses (s3://...)")
    for kind, text in OPTIONAL.items():
        add(f"--{kind}", action="store_true", help=f"write {text}")
    add("--csv", action="store_true", help="write the areas of the classes in each image: areas.csv")
    add("--scales", type=float, nargs="+", default=[1.0], help="scales, whose probabilities are averaged; default: 1")
    add("--flip", action="store_true", help="run every scale on the mirrored image as well")
    add("--crf", metavar="NAME", help="refine with a dense CRF: checkpoint (found by crf-search) or a released setting")
    add("--output_stride", type=int, help="output stride; default: that of the training")
    add("--tile", type=tile, default="auto", help="side of the tiles; none for whole images; default: auto")
    add("--value_range", type=float, nargs=2, metavar=("LOW", "HIGH"), help=VALUE_RANGE_HELP)
    add("--device", default="auto", help="cpu, cuda or cuda:N; default: the GPU if there is one")
    add("--batch_size", type=count, default=1, help="files of equal size computed at once; default: 1")
    add(
        "--engine", choices=ENGINES, default="threads", help="threads of this machine, or ray: a cluster of RAY_ADDRESS"
    )
    add(
        "--workers",
        type=count,
        help="batches in progress; default: one for each processor, 4 on a GPU; networks of ray",
    )
    add("--shard", type=shard, metavar="I/N", help="do part I (from 0) of N; default: of SLURM's array or torchrun")
    arguments = parser.parse_args(options)
    arguments.shard, arguments.job = (arguments.shard, None) if arguments.shard else shard_of_job()
    return arguments


def tile(text: str) -> int | str | None:
    """Parse the side of the tiles."""
    return {"auto": "auto", "none": None}[text] if text in ("auto", "none") else count(text)


def shard(text: str) -> tuple[int, int]:
    """Parse index and number of shards."""
    index, _, number = text.partition("/")
    if not 0 <= int(index) < int(number):
        raise ValueError(f"{text} is not I/N with I from 0 to N - 1")
    return int(index), int(number)


def shard_of_job() -> tuple[tuple[int, int], str | None]:
    """Return the shard of a task of a SLURM array or of a process of torchrun, and the variable that gives it.

    Without either, it is the whole.

    Raises:
        UsageError: The variables of the environment do not fit together.
    """
    names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT"), ("RANK", "", "WORLD_SIZE")
    for index, first, number in names:
        if index in os.environ and number in os.environ:
            text = f"{int(os.environ[index]) - int(os.environ.get(first, 0))}/{os.environ[number]}"
            try:
                return shard(text), index
            except ValueError as error:
                raise UsageError(f"{index} and {number} give no shard: {error}; give --shard I/N") from error
    return (0, 1), None


def _report(inputs: Inputs, tally: Tally, arguments: Namespace) -> None:
    errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    if inputs.skipped:
        kinds = ", ".join(f"{number} {suffix}" for suffix, number in sorted(inputs.skipped.items()))
        errors.print(f"skipped, neither image nor video: {kinds}")
    for remark, number in tally.remarks.items():
        errors.print(f"{number} image{'' if number == 1 else 's'}: {remark}")
    for failure in sorted(tally.failed)[:SHOWN]:
        errors.print(f"failed: {failure}")
    if len(tally.failed) > SHOWN:
        errors.print(f"failed: {len(tally.failed) - SHOWN} more")
    kept = f", {tally.kept} finished before" if tally.kept else ""
    failed = f", {len(tally.failed)} failed" if tally.failed else ""
    index, count = arguments.shard
    part = f" (shard {index}/{count})" if count > 1 else ""
    print(f"{tally.done} segmented into {arguments.out}{kept}{failed}{part}")
