"""`deeplab crf-search`: search the best CRF setting for a checkpoint by the papers' protocol."""

import hashlib
import json
from argparse import Namespace
from dataclasses import dataclass, fields
from pathlib import Path
from typing import get_args

import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.commands.brought_settings import read_brought_settings
from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf.settings import NORMALIZATION_WORDS, Normalization
from deeplab_lightning.crf_search import AXES, Grid, Search, draw_heat_map, fragment
from deeplab_lightning.processors import count_processors
from deeplab_lightning.run_folder import RunFolder
from deeplab_lightning.usage import Parser

ROWS = 10  # number of settings in the printed ranking
EPILOG = """All other options are those of `deeplab validate`, such as -c experiments/data/X.yaml for the data and
--model.scales for the scales. Model, data and precision come from the newest logs/fit_*/config.yaml beside the
checkpoint. That file may only name classes of this package and of Lightning; files given by -c are not restricted. The
logits are computed once and kept. An interrupted search resumes where it stopped."""


@dataclass(frozen=True)
class SearchFolder:
    """The folder of a search, and the files in it.

    Args:
        path: The folder itself.
    """

    path: Path

    @property
    def logits(self) -> Path:
        """The folder of the saved logits."""
        return self.path / "logits"

    @property
    def origin(self) -> Path:
        """The record of the checkpoint and the options that the logits were computed with."""
        return self.path / "logits.json"

    @property
    def settings(self) -> Path:
        """The settings that were read from the config beside the checkpoint."""
        return self.path / "settings.yaml"

    @property
    def scores(self) -> Path:
        """The scores of all settings."""
        return self.path / "search.csv"

    @property
    def best(self) -> Path:
        """The config file with the best setting."""
        return self.path / "best.yaml"

    @property
    def heat_map(self) -> Path:
        """The heat map of the scores."""
        return self.path / "heat_map.png"

    def images(self) -> list[Path]:
        """The existing files of saved logits, sorted."""
        return sorted(self.logits.glob("*.npz"))

    def clear(self) -> None:
        """Remove the logits and the results of a search on them. Other files in the folder stay."""
        for path in [*self.images(), self.origin, self.scores, self.best, self.heat_map]:
            path.unlink(missing_ok=True)


def run(command: str, options: list[str]) -> int:
    """Compute and save the logits, search, and print and write the results."""
    arguments, rest = parse(command, options)
    folder = SearchFolder(arguments.output or arguments.checkpoint.parent / "crf_search")
    grid = Grid(**{axis: tuple(getattr(arguments, axis)) for axis in AXES})
    _save_logits(arguments, rest, folder)
    images = folder.images()
    search = Search(images, folder.scores, arguments.workers, arguments.normalization)
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=len(images))

        def on_progress(crf: DenseCRF, done: int, total: int) -> None:
            best = f"best {max(search.scores.values(), default=0):.4f}"
            title = f"{len(search.scores) + 1}: {_describe(crf)} ({best})"
            progress.update(bar, description=title, completed=done, total=total)

        search.run(grid, arguments.iterations, arguments.rounds, on_progress)
    _print(console, search)
    console.print(write(search, folder), markup=False, highlight=False)
    _keep_in_checkpoint(arguments.checkpoint, search, folder)
    return 0


def write(search: Search, folder: SearchFolder) -> str:
    """Write the results into the folder, and return a summary of them."""
    best, num_images, tried = search.best_crf, len(search.images), len(search.scores) - 1
    draw_heat_map(search.scores, best, folder.heat_map)
    heading = (
        f"The best of {tried} CRF setting{'' if tried == 1 else 's'}, {NORMALIZATION_WORDS[search.normalization]}, "
        f"on {num_images} validation image{'' if num_images == 1 else 's'}: mIoU {search.scores[best]:.4f}, "
        f"{search.scores[search.no_crf]:.4f} without CRF."
    )
    if search.best == search.no_crf:
        folder.best.unlink(missing_ok=True)  # the file of an earlier search would be taken for a result of this one
        written = f"{folder.heat_map.name} and {folder.scores.name} into {folder.path}, no {folder.best.name}"
        return f"{heading}\nno CRF improves the prediction: wrote {written}"
    write_atomically(folder.best, fragment(best, heading))
    others = f"{folder.heat_map.name} and {folder.scores.name} into {folder.path}"
    return f"{heading}\nwrote {folder.best.name} (for -c), {others}"


def _keep_in_checkpoint(checkpoint: Path, search: Search, folder: SearchFolder) -> None:
    """Write the best setting into the checkpoint, from which `deeplab segment --crf checkpoint` takes it."""
    from deeplab_lightning.segmentation.model_file import keep_crf

    best = search.best
    settings = {name: getattr(best, name) for name in (*AXES, "iterations", "normalization")}
    if keep_crf(checkpoint, None if best == search.no_crf else settings):
        origin = json.loads(folder.origin.read_text())
        origin["checkpoint"] = _digest(checkpoint)  # the logits are still those of its weights
        write_atomically(folder.origin, json.dumps(origin))


def parse(command: str, options: list[str]) -> tuple[Namespace, list[str]]:
    """Parse the options of this command, and return the remaining ones for `validate` with them."""
    parser = Parser(
        prog=f"deeplab {command}",
        description="Search the dense CRF's settings on validation images: a coarse grid, then refinement.",
        epilog=EPILOG,
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint in a run folder, such as runs/default/best.ckpt")
    for axis in fields(Grid):
        values = " ".join(f"{value:g}" for value in axis.default)  # type: ignore[union-attr]
        parser.add_argument(
            f"--{axis.name}",
            type=float,
            nargs="+",
            default=axis.default,
            metavar="VALUE",
            help=f"values of the coarse grid; default: {values}",
        )
    parser.add_argument("--images", type=int, default=100, help="number of images from the split's start; default: 100")
    parser.add_argument("--iterations", type=int, default=10, help="mean-field iterations; default: 10")
    parser.add_argument(
        "--normalization",
        choices=get_args(Normalization),
        default="after",
        help="normalisation of the messages: after filtering, as in the releases of v1 and v2, or symmetric; "
        "default: after",
    )
    parser.add_argument("--rounds", type=int, default=2, help="refinements, each at half the step; default: 2")
    parser.add_argument("--workers", type=int, default=count_processors(), help="processes; default: one per core")
    parser.add_argument("--output", type=Path, help="output folder; default: crf_search beside the checkpoint")
    arguments, rest = parser.parse_known_args(options)
    if min(arguments.images, arguments.iterations, arguments.workers) < 1 or arguments.rounds < 0:
        raise ValueError(
            f"images, iterations and workers must be at least 1, rounds at least 0, got {arguments.images}, "
            f"{arguments.iterations}, {arguments.workers} and {arguments.rounds}"
        )
    return arguments, rest


def _save_logits(arguments: Namespace, rest: list[str], folder: SearchFolder) -> None:
    """Compute the logits, unless the folder already has them for the same checkpoint and options."""
    if not arguments.checkpoint.is_file():
        raise FileNotFoundError(f"{arguments.checkpoint}: no such checkpoint")
    content = _digest(arguments.checkpoint)  # not its path, because the run folder may be moved or copied
    origin = json.dumps({"checkpoint": content, "images": arguments.images, "options": rest}).encode()
    if folder.origin.is_file() and folder.origin.read_bytes() == origin:
        return
    from deeplab_lightning.cli import run as run_lightning

    own = _own_settings(arguments.checkpoint, rest, folder.settings)
    folder.clear()  # earlier scores are for other logits
    options = [*own, *rest, "--ckpt_path", str(arguments.checkpoint)]
    options += ["--trainer.default_root_dir", str(folder.path), "--wandb.mode", "disabled"]
    options += ["--trainer.limit_val_batches", str(arguments.images), "--data.eval_batch_size", "1"]
    options += ["--trainer.devices", "1", "--trainer.callbacks+", "SaveLogits"]
    run_lightning("validate", [*options, "--trainer.callbacks.folder", str(folder.logits)])
    write_atomically(folder.origin, origin)


def _digest(checkpoint: Path) -> str:
    """The hash of a checkpoint's content."""
    with checkpoint.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _own_settings(checkpoint: Path, rest: list[str], copy: Path) -> list[str]:
    """Copy the safe settings from the config beside the checkpoint, and return the options that read the copy.

    There are no such options if the user passes that config by hand.

    Raises:
        FileNotFoundError: There is no config beside the checkpoint.
    """
    config = RunFolder(checkpoint.parent).newest_config("fit")
    if config is None:
        raise FileNotFoundError(f"{checkpoint.parent}: no logs/fit_*/config.yaml beside the checkpoint")
    if config.resolve() in (Path(option.rpartition("=")[2]).resolve() for option in rest):
        return []
    write_atomically(copy, yaml.safe_dump(read_brought_settings(config)))
    return ["-c", str(copy)]


def _describe(crf: DenseCRF) -> str:
    if not (crf.bilateral_weight or crf.gaussian_weight):
        return "no CRF"
    return " ".join(f"{getattr(crf, axis):g}" for axis in AXES)


def _print(console: Console, search: Search) -> None:
    table = Table(*AXES, "mIoU", "gain")
    ranking = sorted(search.scores, key=lambda crf: -search.scores[crf])
    for crf in dict.fromkeys([*ranking[:ROWS], search.no_crf]):
        values = ["no CRF", *[""] * 4] if crf == search.no_crf else [f"{getattr(crf, axis):g}" for axis in AXES]
        table.add_row(*values, f"{search.scores[crf]:.4f}", f"{search.scores[crf] - search.scores[search.no_crf]:+.4f}")
    console.print(table)
