"""Shapes: a generated data set in the VOC layout, small enough to be learned in minutes.

Scenes have textured backgrounds and overlapping objects of seven classes, some with the thin parts and fine boundaries
that are hard for DeepLab. As in VOC, the border between objects is void (255).
"""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.atomic import naming, write_atomically
from deeplab_lightning.drawing import label_image
from deeplab_lightning.palette import Palette

CLASS_NAMES = ("background", "disk", "square", "triangle", "star", "ring", "cross", "bicycle")
PALETTE = Palette.generated(CLASS_NAMES)
OBJECT_COLORS = (
    (214, 69, 65), (58, 110, 200), (70, 160, 80), (235, 180, 40), (150, 80, 190), (40, 175, 180), (230, 120, 50)
)  # fmt: skip
SUPERSAMPLING = 4

Points = list[tuple[float, float]]
Layer = tuple[Points, bool]
"""A polygon in [-1, 1]^2, and whether it is filled (True) or cut out (False)."""


def _ellipse(x: float, y: float, radius: float, num_points: int = 40) -> Points:
    angles = (2 * math.pi * k / num_points for k in range(num_points))
    return [(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles]


def _bar(x0: float, y0: float, x1: float, y1: float, width: float) -> Points:
    length = math.hypot(x1 - x0, y1 - y0)
    dx, dy = -(y1 - y0) / length * width / 2, (x1 - x0) / length * width / 2
    return [(x0 + dx, y0 + dy), (x1 + dx, y1 + dy), (x1 - dx, y1 - dy), (x0 - dx, y0 - dy)]


def _star() -> Points:
    radii = (1.0, 0.42)
    return [(radii[k % 2] * math.sin(math.pi * k / 5), -radii[k % 2] * math.cos(math.pi * k / 5)) for k in range(10)]


def _bicycle() -> Iterator[Layer]:
    for x in (-0.58, 0.58):
        yield _ellipse(x, 0.35, 0.42), True
        yield _ellipse(x, 0.35, 0.26), False
    frame = ((-0.58, 0.35, -0.2, -0.3), (-0.2, -0.3, 0.4, -0.25), (0.4, -0.25, 0.58, 0.35), (0.05, 0.4, -0.2, -0.3),
             (0.05, 0.4, 0.4, -0.25), (-0.58, 0.35, 0.05, 0.4), (0.4, -0.25, 0.34, -0.6), (0.34, -0.6, 0.62, -0.62),
             (-0.42, -0.38, -0.02, -0.38))  # fmt: skip
    yield from ((_bar(*ends, width=0.13), True) for ends in frame)


OUTLINES: dict[str, Callable[[], list[Layer]]] = {
    "disk": lambda: [(_ellipse(0, 0, 0.85), True)],
    "square": lambda: [([(-0.75, -0.75), (0.75, -0.75), (0.75, 0.75), (-0.75, 0.75)], True)],
    "triangle": lambda: [([(0, -0.95), (0.9, 0.7), (-0.9, 0.7)], True)],
    "star": lambda: [(_star(), True)],
    "ring": lambda: [(_ellipse(0, 0, 0.9), True), (_ellipse(0, 0, 0.55), False)],
    "cross": lambda: [(_bar(-0.95, 0, 0.95, 0, width=0.34), True), (_bar(0, -0.95, 0, 0.95, width=0.34), True)],
    "bicycle": lambda: list(_bicycle()),
}


def _noise(rng: Generator, height: int, width: int) -> NDArray[np.float64]:
    """Smooth noise of several octaves, roughly in -1 to 1, (height, width)."""
    total = np.zeros((height, width))
    for octave, cells in enumerate((3, 6, 12, 24)):
        grid = Image.fromarray(rng.normal(size=(cells, cells)).astype(np.float32))
        total += np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC)) * 0.6**octave
    return total / 2


def _coverage(rng: Generator, class_name: str, height: int, width: int) -> NDArray[np.float64]:
    """The share of each pixel that one object covers, (height, width) in 0..1; its place, size and angle are random."""
    radius = rng.uniform(0.2, 0.36) * min(height, width)
    center_x, center_y = rng.uniform(0.12, 0.88) * width, rng.uniform(0.12, 0.88) * height
    angle = rng.uniform(-0.5, 0.5) if class_name == "bicycle" else rng.uniform(-math.pi, math.pi)
    cos, sin = math.cos(angle) * radius, math.sin(angle) * radius
    canvas = Image.new("L", (width * SUPERSAMPLING, height * SUPERSAMPLING))
    draw = ImageDraw.Draw(canvas)
    for points, fills in OUTLINES[class_name]():
        placed = [
            ((center_x + x * cos - y * sin) * SUPERSAMPLING, (center_y + x * sin + y * cos) * SUPERSAMPLING)
            for x, y in points
        ]
        draw.polygon(placed, fill=255 if fills else 0)
    return np.asarray(canvas.resize((width, height), Image.Resampling.BOX), np.float64) / 255


def _texture(
    rng: Generator, color: NDArray[np.float64], strength: float, *, height: int, width: int
) -> NDArray[np.float64]:
    """A surface (height, width, 3) of one colour with noise; every second surface, on average, also has stripes."""
    tone = _noise(rng, height, width) * strength
    if rng.random() < 0.5:
        y, x = np.mgrid[:height, :width]
        angle, period = rng.uniform(0, math.pi), rng.uniform(5, 12)
        tone = tone + strength * 0.6 * np.sin(2 * math.pi * (x * math.cos(angle) + y * math.sin(angle)) / period)
    surface: NDArray[np.float64] = color + tone[..., None]
    return surface


def render(rng: Generator, height: int, width: int, void_width: int = 1) -> tuple[Image.Image, Image.Image]:
    """Draw one scene.

    Args:
        rng: Generator of all random choices.
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        void_width: Pixels on either side of a boundary that become void; 0 for none.

    Returns:
        The RGB image and its palette mask.
    """
    gray = rng.uniform(70, 170)
    pixels = _texture(rng, gray + rng.normal(0, 14, 3), strength=26, height=height, width=width)
    classes, objects = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    for number in range(1, int(rng.integers(2, 5)) + 1):
        index = int(rng.integers(1, len(CLASS_NAMES)))
        coverage = _coverage(rng, CLASS_NAMES[index], height, width)
        color = np.array(OBJECT_COLORS[index - 1]) + rng.normal(0, 12, 3)
        surface = _texture(rng, color, strength=18, height=height, width=width)
        pixels += coverage[..., None] * (surface - pixels)
        classes[coverage > 0.5], objects[coverage > 0.5] = index, number
    pixels += rng.normal(0, 5, pixels.shape)
    classes[_border(objects, void_width)] = IGNORE_INDEX
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), label_image(classes, PALETTE)


def _border(objects: NDArray[np.uint8], width: int) -> NDArray[np.bool_]:
    """Mask of the pixels within `width` steps of another object."""
    border = np.zeros(objects.shape, bool)
    across, down = objects[:, 1:] != objects[:, :-1], objects[1:] != objects[:-1]
    if width > 0:
        border[:, 1:] |= across
        border[:, :-1] |= across
        border[1:] |= down
        border[:-1] |= down
    for _ in range(width - 1):
        grown = np.pad(border, 1)
        border = grown[1:-1, 1:-1] | grown[:-2, 1:-1] | grown[2:, 1:-1] | grown[1:-1, :-2] | grown[1:-1, 2:]
    return border


def generate(
    root: Path, num_images: dict[str, int], size: tuple[int, int] = (128, 128), void_width: int = 1, seed: int = 0
) -> None:
    """Write a Shapes tree in the VOC layout; the same arguments give the same files.

    The id list of a split is written last, and a split with a list is left alone. So a split that was interrupted is
    generated again by the next call. The settings are kept in shapes.json.

    Args:
        root: Folder of the tree, which is created if missing.
        num_images: Number of images by the name of the split.
        size: Size (H, W) of every image.
        void_width: Pixels on either side of a boundary that become void; 0 for none.
        seed: Seed of all random choices.

    Raises:
        ValueError: The settings are invalid, or `root` holds a tree with other settings.
    """
    if min(num_images.values(), default=0) < 1 or min(size) < 16 or void_width < 0:
        raise ValueError(
            "Shapes needs at least one image in each split, a size of at least 16x16 and a void_width of at least 0; "
            f"got {num_images} images of size {size} and void_width {void_width}"
        )
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    settings = {"num_images": num_images, "size": list(size), "void_width": void_width, "seed": seed}
    settings_path = root / "shapes.json"
    if settings_path.exists() and (existing := _read(settings_path)) != settings:
        raise ValueError(f"{root} holds Shapes with other settings, {existing}; remove it or choose another data.root")
    write_atomically(settings_path, json.dumps(settings))
    write_atomically(root / "class_names.txt", "\n".join(CLASS_NAMES) + "\n")
    for number, (split, count) in enumerate(sorted(num_images.items())):
        list_path = root / "ImageSets" / "Segmentation" / f"{split}.txt"
        image_ids = [f"{split}_{index:05d}" for index in range(count)]
        if list_path.exists():
            continue
        for index, image_id in enumerate(image_ids):
            image, mask = render(np.random.default_rng((seed, number, index)), *size, void_width)
            with naming(root / "JPEGImages" / f"{image_id}.jpg") as path:
                image.save(path, quality=92, subsampling=0)
            with naming(root / "SegmentationClass" / f"{image_id}.png") as path:
                mask.save(path)
        write_atomically(list_path, "\n".join(image_ids) + "\n")


def _read(path: Path) -> Any:
    """The settings of an existing tree.

    Raises:
        ValueError: The file is damaged.
    """
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: it is damaged ({error}); remove the folder, which is generated again") from error
