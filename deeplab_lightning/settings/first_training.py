"""The rules by which `deeplab train` chooses the settings of a first training on one's own data.

Each function returns settings by their names on the command line, with values as it takes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from deeplab_lightning.datasets.doctor import Findings
from deeplab_lightning.datasets.survey import Survey

Settings = dict[str, str]
NONE: Mapping[str, str] = MappingProxyType({})

CONFIGS = ("base", "data/folder", "model/deeplab_v3plus_mobilenet_v2", "scale/own_data")
"""The files that a first training starts from, below experiments/."""
BACKBONE = "mobilenet_v2"
SPLIT_RATIO = "[0.8,0.2,0]"
"""Shares of train, val and test for folders without lists of splits."""
CROPS_ON_GPU, CROPS_ON_CPU = (513, 257, 129), (257, 129)
"""Largest sides of the crops, tried from the first on. On a processor, a crop of 513 takes seconds a picture."""
BATCHES_ON_GPU, BATCHES_ON_CPU = (16, 8, 4, 2, 1), (8, 4, 2, 1)
"""Sizes of a batch, tried from the first on."""
BYTES_PER_PIXEL = 4096
"""Memory of a training step for each pixel of its batch. Measured: 2.9 to 3.5 kB, with 2 to 60 classes."""
SHARE_OF_MEMORY = 0.5
"""Share of the free memory that a step may take; the rest is for the optimizer, the loaders and whole images."""
GOOD_BATCH = 4
"""Smallest batch for which the crops are kept large; batch norm needs several pictures."""
PASSES, MIN_STEPS, MAX_STEPS, MAX_STEPS_ON_CPU = 100, 300, 20000, 1000
"""Passes over the training images, and the bounds of the number of steps that these take."""
VALIDATIONS = 4
"""Number of validations in a training."""
LOGGED_EVERY = 10
"""Steps between two logged losses; fewer where a pass over the images has fewer."""
RARE = 0.01
"""Share of the labelled pixels below which the rarest class makes a training weight its classes."""
MAX_WORKERS = 4
"""Largest number of loader processes."""


@dataclass(frozen=True)
class Machine:
    """The machine that trains.

    Args:
        free_memory: Free memory in bytes, that of the GPU if there is one.
        has_gpu: The training runs on a GPU.
        num_processors: Number of processors.
    """

    free_memory: int
    has_gpu: bool
    num_processors: int


def data_settings(root: Path, has_lists: bool, looks: Survey) -> Settings:
    """The settings that describe the data: the place, the splits, and the images' channels and values.

    Args:
        root: Folder of the data.
        has_lists: The folder lists the images of its splits.
        looks: What the images are.
    """
    settings = {"data.root": str(root)}
    if not has_lists:
        settings["data.split_ratio"] = SPLIT_RATIO
    if looks.num_channels != 3:
        settings["data.in_channels"] = str(looks.num_channels)
    if looks.value_range:
        settings["data.value_range"] = looks.value_range.replace(" ", "")
    return settings


def training_settings(
    looks: Survey, findings: Findings, num_images: int, machine: Machine, own: Mapping[str, str] = NONE
) -> Settings:
    """The settings that follow from what the check found, from the number of images, and from the machine.

    Args:
        looks: What the images are.
        findings: What the check of the data found.
        num_images: Number of training images.
        machine: The machine.
        own: Settings that are given; batch size and steps among them change what follows from these.
    """
    crop, batch_size = crop_and_batch(looks, num_images, machine)
    batch_size = _number(own, "data.batch_size") or batch_size
    steps = _number(own, "trainer.max_steps") or number_of_steps(num_images, batch_size, machine)
    settings = {
        "data.crop_size": f"[{crop[0]},{crop[1]}]",
        "data.batch_size": str(batch_size),
        "data.num_workers": str(min(MAX_WORKERS, machine.num_processors)),
        "trainer.max_steps": str(steps),
        "trainer.val_check_interval": str(max(1, steps // VALIDATIONS)),
    }
    if (batches := num_images // batch_size) < LOGGED_EVERY:
        settings["trainer.log_every_n_steps"] = str(max(1, batches))
    if (scale := scale_of(looks, machine)) < 1:
        settings |= {"data.scale_range": f"[{scale / 2:g},{scale * 2:g}]", "data.scale_step": "null"}
        settings["model.scales"] = f"[{scale:g}]"
    if looks.num_channels != 3:  # ImageNet's mean and deviation are those of RGB
        settings |= {f"data.{name}": str(values).replace(" ", "") for name, values in findings.channels.items()}
    shares = [row["pixel_share"] for row in findings.class_frequencies.values() if row["images"]]
    if min(shares, default=1.0) < RARE:
        settings["model.class_weights"] = "auto"
    return settings


def _number(settings: Mapping[str, str], name: str) -> int | None:
    """Return a positive number among settings; None without one, and for values that `fit` will refuse."""
    value = settings.get(name, "")
    return int(value) or None if value.isdecimal() else None


def start_settings(has_weights: bool) -> Settings:
    """The settings of the weights that the backbone starts with.

    Args:
        has_weights: ImageNet weights are at hand. Without them, the whole network learns at the rate of its heads.
    """
    return (
        {"model.pretrained": "true"} if has_weights else {"model.pretrained": "false", "model.lr_multipliers": "null"}
    )


def scale_of(looks: Survey, machine: Machine) -> float:
    """The scale, at most 1, at which the largest crop covers half of an image's shorter side: photographs are large."""
    side = (CROPS_ON_GPU if machine.has_gpu else CROPS_ON_CPU)[0]
    return min(1.0, round(2 * side / min(looks.height, looks.width), 2))


def crop_and_batch(looks: Survey, num_images: int, machine: Machine) -> tuple[tuple[int, int], int]:
    """Size (H, W) of the crops and number of them in a batch: the largest whose step fits into the memory.

    A crop has at most the sides of an image at its scale, rounded up to a multiple of 16, plus 1.
    """
    scale, affordable = scale_of(looks, machine), machine.free_memory * SHARE_OF_MEMORY / BYTES_PER_PIXEL
    batches = BATCHES_ON_GPU if machine.has_gpu else BATCHES_ON_CPU
    for largest in CROPS_ON_GPU if machine.has_gpu else CROPS_ON_CPU:
        height, width = (min(largest, -int(-side * scale // 16) * 16 + 1) for side in (looks.height, looks.width))
        fitting = [each for each in batches if each <= num_images and each * height * width <= affordable]
        if fitting and fitting[0] >= min(GOOD_BATCH, num_images):
            break
    return (height, width), fitting[0] if fitting else 1


def number_of_steps(num_images: int, batch_size: int, machine: Machine) -> int:
    """The steps of `PASSES` passes over the training images, within bounds."""
    steps = -(-PASSES * num_images // batch_size)
    return max(MIN_STEPS, min(steps, MAX_STEPS if machine.has_gpu else MAX_STEPS_ON_CPU))
