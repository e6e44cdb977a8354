"""The file class_names.txt: names of the classes, their keys in the masks, and their colours."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.datasets.segmentation import read_text
from deeplab_lightning.palette import Color, Palette

CLASS_FILE = "class_names.txt"
VOID = "void"
# The = is needed: a name may end in a number, like "class 1".
VALUE = re.compile(r"(?P<name>.*\S)\s*=\s*(?P<key>-?\d+)(?:\s+(?P<color>\d{1,3}\s+\d{1,3}\s+\d{1,3}))?")
COLOR = re.compile(r"(?P<name>.*\S)\s+(?P<key>(?P<color>\d{1,3}\s+\d{1,3}\s+\d{1,3}))")

Key = tuple[int, ...]
"""What stands for a class in a mask: a colour (R, G, B), or a value (value,)."""
LabelMap = dict[Key, int]
"""Class index, or 255 for void, by its key in a mask: all keys are colours, or all are values."""


@dataclass(frozen=True)
class Classes:
    """The contents of class_names.txt.

    Args:
        names: Names of the classes, without void.
        label_map: Class of each colour or value in the masks; None for masks of class indices.
        palette: Names and colours of the classes.
    """

    names: list[str]
    label_map: LabelMap | None
    palette: Palette


def read_class_names(root: Path) -> list[str]:
    """The names in class_names.txt: line k names class k. A line for void is left out.

    Raises:
        DataError: The file does not exist, holds fewer than two names, or holds a name twice.
    """
    return _read_classes(root).names


def read_label_map(root: Path) -> LabelMap | None:
    """The colours or values of the classes in class_names.txt; None if the file holds names only.

    A line is "name R G B" if the masks are colour-coded, and "name = value" if they hold values other than the class
    indices. Void may have a line of its own, under the name "void".

    Raises:
        DataError: The file is faulty (see `read_class_names`), only some names have a colour or value, or two names
            have the same one.
    """
    return _read_classes(root).label_map


def read_palette(root: Path) -> Palette:
    """The colours in class_names.txt, of the lines "name R G B" or "name = value R G B"; generated ones without any.

    Raises:
        DataError: The file is faulty (see `read_class_names`), or only some values are followed by a colour.
    """
    return _read_classes(root).palette


def write_palette(root: Path, palette: Palette) -> None:
    """Write class_names.txt for masks of class indices, with the colours of the classes and of void."""
    lines = [*enumerate(zip(palette.class_names, palette.colors, strict=True)), (IGNORE_INDEX, (VOID, palette.void))]
    text = "".join(f"{name} = {value} {text_of(color)}\n" for value, (name, color) in lines)
    write_atomically(root / CLASS_FILE, text)


def _read_classes(root: Path) -> Classes:
    path = root / CLASS_FILE
    if not path.is_file():
        raise DataError(
            "no such file; it names one class a line, in the order of the mask values; `deeplab data check --fix` "
            "writes one",
            path,
        )
    names = [line.strip() for line in read_text(path).rstrip().split("\n")]
    label_map: LabelMap = {}
    colors: dict[str, Color] = {}
    for pattern, what in ((VALUE, "value"), (COLOR, "colour")):
        matches = [match for name in names if (match := pattern.fullmatch(name))]
        if matches and len(matches) < len(names):
            form = "name R G B" if what == "colour" else "name = value"
            raise DataError(f"some of its names are followed by a {what} ({form!r}), but others are not", path)
        if matches:
            label_map = _label_map([(match["name"], _numbers(match["key"])) for match in matches], path, what)
            colors = _colors({match["name"]: match["color"] for match in matches}, path)
            names = [match["name"] for match in matches]
            names = [name for name in names if name != VOID] if names.count(VOID) == 1 else names
            break
    if len(names) < 2 or "" in names or len(set(names)) < len(names):
        raise DataError("it must hold at least two names, each once, and no empty line", path)
    if len(names) > IGNORE_INDEX:
        raise DataError(f"it holds {len(names)} names, but a mask has room for {IGNORE_INDEX} classes and void", path)
    palette = Palette.generated(names)
    if colors:
        palette = Palette(tuple(names), tuple(colors[name] for name in names), colors.get(VOID, palette.void))
    indices = {(index,): index for index in [*range(len(names)), IGNORE_INDEX]}
    if not label_map or (colors and label_map == indices):  # the masks hold class indices; the file adds colours
        return Classes(names, None, palette)
    return Classes(names, label_map, palette)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))


def _colors(texts: Mapping[str, str | None], path: Path) -> dict[str, Color]:
    colors: dict[str, Color] = {}
    for name, text in texts.items():
        if text is not None:
            red, green, blue = _numbers(text)
            colors[name] = red, green, blue
            if max(colors[name]) > 255:
                raise DataError(f"the colour {text} of {name!r} exceeds 255", path)
    if colors and texts.keys() - colors.keys() - {VOID}:
        raise DataError("some of its values are followed by a colour ('name = value R G B'), but others are not", path)
    return colors


def _label_map(lines: list[tuple[str, tuple[int, ...]]], path: Path, what: str) -> LabelMap:
    label_map: LabelMap = {}
    classes = [name for name, _ in lines if name != VOID]
    for name, key in lines:
        if key in label_map or (what == "colour" and max(key) > 255):
            raise DataError(f"the {what} {text_of(key)} of {name!r} occurs twice or exceeds 255", path)
        label_map[key] = IGNORE_INDEX if name == VOID else classes.index(name)
    return label_map


def text_of(key: Iterable[int]) -> str:
    """A colour or a value as class_names.txt gives it."""
    return " ".join(map(str, key))
