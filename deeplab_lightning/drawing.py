"""Pictures of label maps: in colours, over their image, with a legend and captions.

Void is hatched, so that it is told from every class, a black background included. Text has a band of its own, so that
it can be read beside any picture. The font comes with matplotlib, which is not imported.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from deeplab_lightning import IGNORE_INDEX
from deeplab_lightning.palette import BACKGROUND, Color, Palette

Labels = NDArray[np.integer[Any]]
"""A label map (H, W) of class indices, with 255 for void."""

Tile = NDArray[np.uint8] | Labels
"""An RGB image (H, W, 3), or a label map (H, W)."""

PAPER: Color = (255, 255, 255)
INK: Color = (24, 24, 27)
FAINT_INK: Color = (113, 113, 122)
HATCH: Color = (120, 120, 104)
HATCH_PERIOD = 8
"""Distance in pixels between two diagonal lines of void."""
GAP = 8
"""Distance in pixels between the tiles of a panel."""
SMALLEST = 256
"""Width in pixels to which smaller tiles of a panel are enlarged."""
ABSENT = 0.0005
"""Share of the pixels below which a legend says "<0.1 %"."""
SCREEN = 1000
"""Width in pixels up to which letters have their smallest size; a screen shrinks wider pictures, whose letters grow."""


@dataclass(frozen=True)
class Lettering:
    """The sizes of text in a picture, in pixels.

    Args:
        font: Font of the text.
        line: Height of a line of text.
        swatch: Side of a swatch.
        padding: Space around text and swatches.
    """

    font: ImageFont.FreeTypeFont
    line: int
    swatch: int
    padding: int


def lettering(width: int) -> Lettering:
    """The sizes of text in a picture of a width."""
    scale = max(1, width / SCREEN)
    return Lettering(_font(round(14 * scale)), round(22 * scale), round(14 * scale), round(6 * scale))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib, in pixels; Pillow's own font lacks most letters with accents."""
    found = find_spec("matplotlib")
    assert found is not None
    assert found.origin is not None
    return ImageFont.truetype(Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def label_image(labels: Labels, palette: Palette) -> Image.Image:
    """A palette PNG's image of a label map: its values are the class indices (8 bit), its colours are the palette's."""
    image = Image.fromarray(labels.astype(np.uint8), "P")
    image.putpalette(palette.table().ravel().tolist())
    return image


def colored(labels: Labels, palette: Palette) -> NDArray[np.uint8]:
    """A label map in the palette's colours (H, W, 3), with void hatched."""
    pixels = palette.table()[labels]
    pixels[_hatched(labels)] = HATCH
    return pixels


def overlay(image: NDArray[np.uint8], labels: Labels, palette: Palette, opacity: float = 0.5) -> NDArray[np.uint8]:
    """An image (H, W, 3) under its label map (H, W): classes tinted and outlined, background clear, void hatched.

    Args:
        image: Image in RGB.
        labels: Label map of the image.
        palette: Colours of the classes.
        opacity: Share of the classes' colours in the mixture, from 0 to 1.

    Raises:
        ValueError: The sizes differ, or the opacity is not in 0..1.
    """
    if image.shape != (*labels.shape, 3) or not 0 <= opacity <= 1:
        raise ValueError(
            f"an overlay needs an RGB image of its label map's size and an opacity in 0..1, got {image.shape}, "
            f"{labels.shape} and {opacity}"
        )
    clear = labels == IGNORE_INDEX
    if BACKGROUND in palette.class_names:
        clear |= labels == palette.class_names.index(BACKGROUND)
    colors = palette.table()[labels]
    share = np.where(clear, 0.0, opacity)
    share[_outlines(labels) & ~clear] = 1
    mixed: NDArray[np.uint8] = (image + share[..., None] * (colors.astype(float) - image)).round().astype(np.uint8)
    mixed[_hatched(labels)] = HATCH
    return mixed


def _hatched(labels: Labels) -> NDArray[np.bool_]:
    """The pixels of the diagonal lines that mark void."""
    y, x = np.ogrid[: labels.shape[0], : labels.shape[1]]
    hatched: NDArray[np.bool_] = (labels == IGNORE_INDEX) & ((x + y) % HATCH_PERIOD < HATCH_PERIOD // 4)
    return hatched


def _outlines(labels: Labels) -> NDArray[np.bool_]:
    """The pixels beside a pixel of another value."""
    outlines = np.zeros(labels.shape, bool)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    for part, differs in ((outlines[:, 1:], across), (outlines[:, :-1], across), (outlines[1:], down),
                          (outlines[:-1], down)):  # fmt: skip
        part |= differs
    return outlines


@dataclass(frozen=True)
class Present:
    """A class that is present in a label map, or void.

    Args:
        index: Class index, or 255.
        name: Name of the class, or "void".
        share: Share of the pixels, from 0 to 1.
    """

    index: int
    name: str
    share: float


def present(labels: Labels, palette: Palette) -> list[Present]:
    """The classes of a label map with the share of its pixels, the largest first; void, if there is any, is last."""
    counts = np.bincount(labels.ravel(), minlength=IGNORE_INDEX + 1)
    names = {**dict(enumerate(palette.class_names)), IGNORE_INDEX: "void"}
    found = [Present(index, name, counts[index] / labels.size) for index, name in names.items() if counts[index]]
    return sorted(found, key=lambda each: (each.index == IGNORE_INDEX, -each.share))


def legend(maps: Sequence[Labels], palette: Palette, width: int) -> Image.Image:
    """The classes that are present in any of some label maps, with their share in each: "road 34.1 % · 35.0 %".

    Args:
        maps: Label maps, for example a target and a prediction. The legend is in the order of the first.
        palette: Names and colours of the classes.
        width: Width of the legend in pixels.
    """
    found = [{each.index: each for each in present(labels, palette)} for labels in maps]
    order = dict.fromkeys(index for each in found for index in each)
    entries = sorted((index for index in order), key=lambda index: index == IGNORE_INDEX)
    texts = []
    for index in entries:
        name = next(each[index].name for each in found if index in each)
        texts.append((name, " · ".join(percent(each[index].share if index in each else 0) for each in found)))
    sizes = lettering(width)
    widths = [sizes.font.getlength(name) + sizes.font.getlength(f" {share}") for name, share in texts]
    cell = min(width, int(max(widths, default=0)) + sizes.swatch + 4 * sizes.padding)
    across = max(1, width // max(1, cell))
    strip = Image.new("RGB", (width, sizes.line * -(-len(entries) // across) + sizes.padding), PAPER)
    for position, (index, text) in enumerate(zip(entries, texts, strict=True)):
        left, top = position % across * cell + sizes.padding, position // across * sizes.line + sizes.padding
        strip.paste(swatch(index, palette, sizes.swatch), (left, top))
        _write_entry(strip, (left + sizes.swatch + sizes.padding, top + sizes.swatch // 2), text, left + cell)
    return strip


def swatch(index: int, palette: Palette, side: int = 14) -> Image.Image:
    """A framed square in the colour of a class; void, 255, is hatched."""
    square = Image.fromarray(colored(np.full((side, side), index), palette))
    ImageDraw.Draw(square).rectangle((0, 0, side - 1, side - 1), outline=FAINT_INK)
    return square


def panel(rows: Sequence[Mapping[str, Tile]], palette: Palette, largest: int | None = None) -> Image.Image:
    """Tiles under their names, row by row, over a legend of the classes in the label maps.

    Args:
        rows: Tiles by name: RGB images (H, W, 3) and label maps (H, W). A legend of shares stands under each row.
        palette: Names and colours of the classes.
        largest: Width and height in pixels to which larger tiles are reduced; None leaves them as they are.
    """
    strips = [_row(row, palette, largest) for row in rows]
    canvas = Image.new("RGB", (max(strip.width for strip in strips), sum(strip.height for strip in strips)), PAPER)
    top = 0
    for strip in strips:
        canvas.paste(strip, (0, top))
        top += strip.height
    return canvas


def _row(row: Mapping[str, Tile], palette: Palette, largest: int | None) -> Image.Image:
    tiles = {name: _fitted(tile, palette, largest) for name, tile in row.items()}
    width = sum(tile.width + GAP for tile in tiles.values()) - GAP
    height = max(tile.height for tile in tiles.values())
    maps = [tile for tile in row.values() if tile.ndim == 2]
    below = legend(maps, palette, width)
    sizes = lettering(width)
    strip = Image.new("RGB", (width, sizes.line + height + below.height + GAP), PAPER)
    draw, left = ImageDraw.Draw(strip), 0
    for name, tile in tiles.items():
        draw.text((left, sizes.line // 2), _shortened(name, tile.width, sizes), INK, sizes.font, anchor="lm")
        strip.paste(tile, (left, sizes.line))
        left += tile.width + GAP
    strip.paste(below, (0, sizes.line + height))
    return strip


def _fitted(tile: Tile, palette: Palette, largest: int | None) -> Image.Image:
    """A tile in colours, enlarged by a whole number if it is small, and reduced to `largest`."""
    height, width = tile.shape[:2]
    factor: float = max(1, SMALLEST // max(height, width))
    if largest is not None:
        factor = min(factor, largest / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    if tile.ndim == 2:  # resized before it is hatched, so that the lines of void stay fine
        values = Image.fromarray(tile.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
        return Image.fromarray(colored(np.asarray(values), palette))
    return Image.fromarray(tile).resize(size, Image.Resampling.BICUBIC if factor < 1 else Image.Resampling.NEAREST)


def _write_entry(strip: Image.Image, place: tuple[int, int], texts: tuple[str, str], right: int) -> None:
    """Write a name, shortened where it would pass the right side, and a share behind it."""
    draw, sizes = ImageDraw.Draw(strip), lettering(strip.width)
    name, share = texts
    space = right - sizes.padding - place[0] - sizes.font.getlength(f" {share}")
    name = _shortened(name, int(space), sizes)
    draw.text(place, name, INK, sizes.font, anchor="lm")
    draw.text((place[0] + sizes.font.getlength(f"{name} "), place[1]), share, FAINT_INK, sizes.font, anchor="lm")


def _shortened(text: str, width: int, sizes: Lettering) -> str:
    if sizes.font.getlength(text) <= width:
        return text
    while text and sizes.font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


def percent(share: float) -> str:
    """Write a share of the pixels, from 0 to 1, as a legend does: "34.1 %"."""
    return "<0.1 %" if 0 < share < ABSENT else f"{100 * share:.1f} %"
