"""labelme's JSON files: the shapes drawn on one image, rasterised as labelme's own converter does."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from deeplab_lightning.datasets.coco_regions import MAX_OUTLINE, Region
from deeplab_lightning.datasets.images import MAX_PIXELS, DataError

SHAPE_TYPES = ("polygon", "rectangle", "circle")
"""Shapes that have an area. labelme's lines and points have none until someone chooses a width."""


@dataclass(frozen=True)
class Drawing:
    """The shapes on an image.

    Args:
        size: Height and width of the image.
        shapes: Label, type and points (x, y) of each shape, in the order in which they were drawn.
    """

    size: tuple[int, int]
    shapes: list[tuple[str, str, list[tuple[float, float]]]]

    def regions(self) -> Iterator[tuple[str, Region]]:
        """The label and the pixels (H, W) of each shape: those that Pillow fills, outline included."""
        for label, kind, points in self.shapes:
            picture = Image.new("1", self.size[::-1])
            pen = ImageDraw.Draw(picture)
            if kind == "polygon":
                pen.polygon(points, fill=1, outline=1)
            else:
                (x, y), (to_x, to_y) = points
                radius = math.hypot(x - to_x, y - to_y)  # of a circle: its centre is the first point
                box = sorted((x, to_x)), sorted((y, to_y))
                if kind == "circle":
                    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1, outline=1)
                else:
                    pen.rectangle((box[0][0], box[1][0], box[0][1], box[1][1]), fill=1, outline=1)
            yield label, np.asarray(picture)


def read_drawing(path: Path) -> Drawing:
    """The shapes in a file of labelme.

    Raises:
        DataError: The file is missing or not of labelme, or a shape has no area or points that cannot be drawn.
    """
    try:
        content = json.loads(path.read_bytes())
        height, width, shapes = content["imageHeight"], content["imageWidth"], content["shapes"]
        if type(height) is not int or type(width) is not int or min(height, width) < 1 or height * width > MAX_PIXELS:
            raise DataError(
                f"it gives the image's size as {width!r}x{height!r}; whole numbers are expected, and at most "
                f"{MAX_PIXELS} pixels; save it with labelme again",
                path,
            )
        return Drawing((height, width), [_shape(shape, number, path) for number, shape in enumerate(shapes, 1)])
    except FileNotFoundError as error:
        raise DataError("no such file", path) from error
    except DataError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(f"it is not a file of labelme ({type(error).__name__}: {error})", path) from error


def _shape(shape: dict[str, Any], number: int, path: Path) -> tuple[str, str, list[tuple[float, float]]]:
    label, kind = shape["label"], shape.get("shape_type") or "polygon"  # labelme 3 had polygons alone
    named = f"shape {number} ({label!r})"
    if not isinstance(label, str):
        raise DataError(f"the label of shape {number} is {label!r}; a text is expected", path)
    if kind not in SHAPE_TYPES:
        raise DataError(f"{named} is a {kind}; only {', '.join(SHAPE_TYPES)} are read, so draw its area as one", path)
    points = [(x, y) for x, y in shape["points"]]
    if len(points) < 3 if kind == "polygon" else len(points) != 2:
        raise DataError(f"{named} is a {kind} of {len(points)} point{'' if len(points) == 1 else 's'}", path)
    for coordinate in (each for point in points for each in point):
        if type(coordinate) not in (int, float) or not -MAX_OUTLINE <= coordinate <= MAX_OUTLINE:  # also refuses NaN
            raise DataError(f"{named} has the coordinate {coordinate!r}", path)
    return label, kind, points
