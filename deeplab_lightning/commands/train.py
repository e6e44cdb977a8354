"""`deeplab train`: a first training on one's own pictures, whose settings follow from the data and the machine."""

import os
import shlex
import socket
from collections.abc import Sequence
from pathlib import Path

import torch

from deeplab_lightning.cli import run as run_cli
from deeplab_lightning.commands.data import examine, print_findings, read_datamodule
from deeplab_lightning.datamodules.folder import find_annotations, find_root
from deeplab_lightning.datasets.doctor import Findings
from deeplab_lightning.datasets.faults import Fault
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.mending import MASK_FOLDERS
from deeplab_lightning.datasets.polygons import SPLIT
from deeplab_lightning.datasets.segmentation import list_images
from deeplab_lightning.datasets.survey import survey
from deeplab_lightning.models.imagenet import imagenet_state_dict
from deeplab_lightning.packaged import expand_experiment
from deeplab_lightning.processors import count_processors
from deeplab_lightning.run_folder import RunFolder
from deeplab_lightning.settings import first_training as rules
from deeplab_lightning.settings.first_training import Settings
from deeplab_lightning.usage import Parser, UsageError, count

CONFIGS = [f"experiments/{name}.yaml" for name in rules.CONFIGS]
IMAGE_FOLDERS = ("images", "JPEGImages")
LISTS = ("splits", "ImageSets/Segmentation")
TIMEOUT = 10.0  # seconds without an answer, after which weights count as not at hand
SECTIONS = ("--data.", "--model.", "--trainer.", "--checkpoint.", "--wandb.", "--seed_everything", "--ckpt_path")
EPILOG = (
    "The folder has images/ and masks/, with lists of the splits or without, or VOC's layout; class_names.txt names "
    "the classes. The data are checked first. Then `deeplab fit` trains DeepLabv3+ on MobileNetV2 with the command "
    f"that is printed: crops and batch by the free memory; about {rules.PASSES} passes over the training images, but "
    f"{rules.MIN_STEPS} to {rules.MAX_STEPS} steps, and at most {rules.MAX_STEPS_ON_CPU} on a processor; ImageNet "
    f"weights if they can be had; weights of the classes if one has less than {100 * rules.RARE:g}% of the pixels. "
    "Further options are those of `deeplab fit`, such as --data.batch_size 4; they replace what would be chosen."
)


def run(command: str, options: list[str]) -> int:
    """Check the data, choose the settings, print the command, and run it."""
    parser = Parser(prog=f"deeplab {command}", description="Train on a folder of your own.", epilog=EPILOG)
    parser.add_argument("folder", help="folder of the data")
    parser.add_argument("--out", type=Path, help="run folder; default: runs/FOLDER")
    parser.add_argument("--steps", type=count, help="number of training steps; default: by the number of images")
    parser.add_argument("--dry_run", action="store_true", help="check the data and print the command, without training")
    arguments, rest = parser.parse_known_args(options)
    own = given(parser, rest)
    if arguments.steps is not None:
        own["trainer.max_steps"] = str(arguments.steps)
    for place in (Path(arguments.folder), arguments.out):
        if place is not None and place.is_file():
            raise UsageError(f"{place} is a file; name a folder")
    root = find_root(arguments.folder)
    looks = survey(list(images_of(root).values()))
    place = root.relative_to(Path.cwd()) if root.is_relative_to(Path.cwd()) else root
    data = rules.data_settings(place, has_lists(root, own), looks) | own
    findings, num_images = check(data)
    if findings.faults:
        print(f"mend these first; `deeplab data check -c {CONFIGS[1]} --root {shlex.quote(str(place))} --fix` may help")
        return 1
    start = {} if own.keys() & {"model.pretrained", "model.backbone"} else rules.start_settings(fetch_weights())
    chosen = rules.training_settings(looks, findings, num_images, machine(own), own=own)
    folder = arguments.out or Path("runs") / root.name
    settings = data | start | chosen | {"trainer.default_root_dir": str(folder)} | own
    words = [word for config in CONFIGS for word in ("-c", config)]
    print_command(words, settings)
    if arguments.dry_run:
        return 0
    status = run_cli("fit", [*map(expand_experiment, words), *words_of(settings)])
    print_ways_on(RunFolder(folder), settings)
    return status


def given(parser: Parser, words: Sequence[str]) -> Settings:
    """Return the further options of the command line as settings.

    Raises:
        UsageError: An option is not one of `deeplab fit`, lacks its value, or asks for several devices.
    """
    found, rest = {}, list(words)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name in ("-c", "--config"):
            raise UsageError("`deeplab train FOLDER` chooses its config files; `deeplab fit -c FILE` takes others")
        if not name.startswith(SECTIONS):
            parser.parse_args(["folder", name])  # which refuses it
        if not equals and not rest:
            raise UsageError(f"{name} needs a value")
        found[name.removeprefix("--")] = value if equals else rest.pop(0)
    if found.get("trainer.devices", "1") != "1":
        raise UsageError("`deeplab train` is for one device; print the command with --dry_run, and run that on several")
    return found


def images_of(root: Path) -> dict[str, Path]:
    """The images of a folder by their ids.

    Raises:
        DataError: The folder has neither layout, or no image.
    """
    found = next((root / name for name in IMAGE_FOLDERS if (root / name).is_dir()), None)
    if found is None:
        names, masks = (
            " or ".join(f"{name}/" for name in IMAGE_FOLDERS),
            " or ".join(f"{name}/" for name in MASK_FOLDERS),
        )
        raise DataError(f"it has no {names}; put the images there, and their masks into {masks}", root)
    images = list_images(found)
    if not images:
        raise DataError("it holds no images", found)
    return images


def has_lists(root: Path, own: Settings) -> bool:
    """Whether a folder says which split an image is in: by lists, or by a file of polygons for each split.

    Args:
        root: The folder.
        own: The settings of the command line, which may name the polygons.
    """
    polygons = find_annotations(root, own.get("data.annotations"))
    return any((root / name).is_dir() for name in LISTS) or SPLIT in str(polygons or "")


def check(settings: Settings) -> tuple[Findings, int]:
    """Check the data and print what is found.

    Returns:
        The findings, and the number of training images.
    """
    words = words_of({name: value for name, value in settings.items() if name.startswith("data.")})
    try:
        datamodule = read_datamodule([expand_experiment(CONFIGS[1])], None, words)
        findings = examine(datamodule, count_processors())
    except DataError as error:  # not even the class names can be read
        findings, num_images = Findings([Fault.of(error)]), 0
    else:
        num_images = findings.counts.get(datamodule.splits["train"], 0)
    print_findings(findings)
    return findings, num_images


def fetch_weights() -> bool:
    """Fetch the backbone's ImageNet weights unless they are in the cache; without them, say so and return False."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        imagenet_state_dict(rules.BACKBONE)
    except ConnectionError as error:
        reason = str(error).partition("; ")[0]
        print(f"{reason}: the training starts from random weights, which need more images and steps")
        return False
    finally:
        socket.setdefaulttimeout(before)
    return True


def machine(own: Settings) -> rules.Machine:
    """Return what the training runs on.

    Args:
        own: The settings of the command line, which may ask for the processor.
    """
    has_gpu = torch.cuda.is_available() and own.get("trainer.accelerator", "auto") in ("auto", "cuda", "gpu")
    free_memory = torch.cuda.mem_get_info()[0] if has_gpu else available_memory()
    return rules.Machine(free_memory, has_gpu, count_processors())


def available_memory(folder: Path = Path("/")) -> int:
    """Return the bytes of memory that are available: of the machine, or of the container if that has fewer.

    Args:
        folder: The folder of proc/ and sys/. Other systems than Linux lack them; half of all memory counts there.
    """
    try:
        lines = (folder / "proc/meminfo").read_text().splitlines()
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    try:
        limit, used = (int((folder / "sys/fs/cgroup" / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return available
    return min(available, limit - used)


def words_of(settings: Settings) -> list[str]:
    """Return settings as words of the command line."""
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


def print_command(configs: Sequence[str], settings: Settings) -> None:
    """Print the `deeplab fit` command that this training is, a line for each section of the settings."""
    sections: dict[str, Settings] = {}
    for name, value in settings.items():
        sections.setdefault(name.partition(".")[0], {})[name] = value
    lines = [configs, *map(words_of, sections.values())]
    print("\ndeeplab fit " + " \\\n  ".join(shlex.join(line) for line in lines) + "\n", flush=True)


def print_ways_on(folder: RunFolder, settings: Settings) -> None:
    """Print what can be done with the trained model."""
    scales = settings.get("model.scales", "").strip("[]").replace(",", " ")
    options = f" --scales {scales}" if scales else ""
    print(f"segment pictures: deeplab segment {folder.best} PICTURES --out out --overlays{options}")
    print(f"scores and curves: deeplab report {folder.path}")
