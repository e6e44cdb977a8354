"""`deeplab crf-search`: the best CRF setting for a checkpoint, by the papers' protocol."""

import json
import os
from argparse import Namespace
from dataclasses import fields
from pathlib import Path
from typing import get_args

import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from deeplab_lightning.ablation.crf_search import AXES, Grid, Search, draw_heat_map, fragment
from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.commands.brought_settings import read_brought_settings
from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf.settings import NORMALIZATION_WORDS, Normalization
from deeplab_lightning.usage import Parser

ROWS = 10
FILES = ("logits.json", "search.csv", "best.yaml", "heat_map.png")
EPILOG = """All other options are those of `deeplab validate`: -c experiments/data/X.yaml is the data, --model.scales
the scales. Model, data and precision come from the newest logs/fit_*/config.yaml beside the checkpoint, which may name
classes of this package alone; what is given by hand is free. The logits are computed once and kept; a search that was
interrupted goes on where it stopped."""


def run(command: str, options: list[str]) -> int:
    """Compute and keep the logits, search, print, and write what was found."""
    arguments, rest = parse(command, options)
    output = arguments.output or arguments.checkpoint.parent / "crf_search"
    grid = Grid(**{axis: tuple(getattr(arguments, axis)) for axis in AXES})
    images = _save_logits(arguments, rest, output)
    search = Search(images, output / "search.csv", arguments.workers, arguments.normalization)
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=len(images))

        def advance(crf: DenseCRF, done: int, total: int) -> None:
            best = f"best {max(search.scores.values(), default=0):.4f}"
            title = f"{len(search.scores) + 1}: {_describe(crf)} ({best})"
            progress.update(bar, description=title, completed=done, total=total)

        search.run(grid, arguments.iterations, arguments.rounds, advance)
    _print(console, search)
    console.print(write(search, output), markup=False, highlight=False)
    return 0


def write(search: Search, output: Path) -> str:
    """Write what was found into the folder, and say it."""
    best, num_images, tried = search.best_crf, len(search.images), len(search.scores) - 1
    draw_heat_map(search.scores, best, output / "heat_map.png")
    heading = (
        f"The best of {tried} CRF setting{'' if tried == 1 else 's'}, {NORMALIZATION_WORDS[search.normalization]}, "
        f"on {num_images} validation image{'' if num_images == 1 else 's'}: mIoU {search.scores[best]:.4f}, "
        f"{search.scores[search.no_crf]:.4f} without CRF."
    )
    if search.best == search.no_crf:
        (output / "best.yaml").unlink(missing_ok=True)  # of an earlier search, it would pass for this one's
        return (
            f"{heading}\nno CRF improves the prediction: wrote heat_map.png and search.csv into {output}, no best.yaml"
        )
    write_atomically(output / "best.yaml", fragment(best, heading))
    return f"{heading}\nwrote best.yaml (for -c), heat_map.png and search.csv into {output}"


def parse(command: str, options: list[str]) -> tuple[Namespace, list[str]]:
    """This command's own arguments, and those that go on to `validate`."""
    parser = Parser(
        prog=f"deeplab {command}",
        description="Search the dense CRF's settings on validation images: a coarse grid, then refinement.",
        epilog=EPILOG,
    )
    parser.add_argument("checkpoint", type=Path)
    for axis in fields(Grid):
        values = " ".join(f"{value:g}" for value in axis.default)  # type: ignore[union-attr]
        parser.add_argument(
            f"--{axis.name}", type=float, nargs="+", default=axis.default, help=f"values of the grid; default: {values}"
        )
    parser.add_argument("--images", type=int, default=100, help="of the validation split, its first; default: 100")
    parser.add_argument("--iterations", type=int, default=10, help="of mean field; default: 10")
    parser.add_argument(
        "--normalization",
        choices=get_args(Normalization),
        default="after",
        help="of the messages: after filtering, as in the releases of v1 and v2, or symmetric; default: after",
    )
    parser.add_argument("--rounds", type=int, default=2, help="of refinement, each at half the step; default: 2")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes; default: one a core")
    parser.add_argument("--output", type=Path, help="folder; default: crf_search beside the checkpoint")
    arguments, rest = parser.parse_known_args(options)
    if min(arguments.images, arguments.iterations, arguments.workers) < 1 or arguments.rounds < 0:
        raise ValueError(
            f"images, iterations and workers must be at least 1, rounds at least 0, got {arguments.images}, "
            f"{arguments.iterations}, {arguments.workers} and {arguments.rounds}"
        )
    return arguments, rest


def _save_logits(arguments: Namespace, rest: list[str], output: Path) -> list[Path]:
    """The images with their logits, computed unless they are there from the same checkpoint and options."""
    if not arguments.checkpoint.is_file():
        raise FileNotFoundError(f"{arguments.checkpoint}: no such checkpoint")
    key = {
        "checkpoint": [str(arguments.checkpoint.resolve()), arguments.checkpoint.stat().st_mtime],
        "images": arguments.images,
        "options": rest,
    }
    folder, key_file = output / "logits", output / "logits.json"
    if not key_file.is_file() or json.loads(key_file.read_text()) != key:
        from deeplab_lightning.cli import run as run_lightning

        own = _own_settings(arguments.checkpoint, rest, output / "settings.yaml")
        options = [*own, *rest, "--ckpt_path", str(arguments.checkpoint)]
        for path in [*folder.glob("*.npz"), *(output / name for name in FILES)]:
            path.unlink(missing_ok=True)  # scores of other logits are worth nothing
        options += ["--trainer.default_root_dir", str(output), "--wandb.mode", "disabled"]
        options += ["--trainer.limit_val_batches", str(arguments.images), "--data.eval_batch_size", "1"]
        options += ["--trainer.devices", "1", "--trainer.callbacks+", "SaveLogits"]
        run_lightning("validate", [*options, "--trainer.callbacks.folder", str(folder)])
        write_atomically(key_file, json.dumps(key))
    return sorted(folder.glob("*.npz"))


def _own_settings(checkpoint: Path, rest: list[str], copy: Path) -> list[str]:
    """A copy of what is taken of the settings beside the checkpoint; nothing where their file is given by hand."""
    configs = sorted((checkpoint.parent / "logs").glob("fit_*/config.yaml"), key=_time)
    if not configs:
        raise FileNotFoundError(f"{checkpoint.parent}: no logs/fit_*/config.yaml beside the checkpoint")
    if configs[-1].resolve() in (Path(option.rpartition("=")[2]).resolve() for option in rest):
        return []
    write_atomically(copy, yaml.safe_dump(read_brought_settings(configs[-1])))
    return ["-c", str(copy)]


def _time(path: Path) -> float:
    return path.stat().st_mtime


def _describe(crf: DenseCRF) -> str:
    has_kernels = crf.bilateral_weight or crf.gaussian_weight
    return " ".join(f"{getattr(crf, axis):g}" for axis in AXES) if has_kernels else "no CRF"


def _print(console: Console, search: Search) -> None:
    table = Table(*AXES, "mIoU", "gain")
    ranking = sorted(search.scores, key=lambda crf: -search.scores[crf])
    for crf in dict.fromkeys([*ranking[:ROWS], search.no_crf]):
        values = ["no CRF", *[""] * 4] if crf == search.no_crf else [f"{getattr(crf, axis):g}" for axis in AXES]
        table.add_row(*values, f"{search.scores[crf]:.4f}", f"{search.scores[crf] - search.scores[search.no_crf]:+.4f}")
    console.print(table)
