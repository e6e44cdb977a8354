from typing import Any

import numpy as np
import pytest

from deeplab_lightning import drawing
from deeplab_lightning.drawing import colored, label_image, legend, lettering, overlay, panel, present, swatch
from deeplab_lightning.palette import Palette

PALETTE = Palette.generated(["background", "road", "tree"])
LABELS = np.zeros((40, 60), np.uint8)
LABELS[:, 30:] = 2
LABELS[:10] = 255


LINE = lettering(400).line  # of all pictures that are not wider than a screen


def colours_of(picture: Any) -> set[tuple[int, ...]]:
    codes = np.unique(np.asarray(picture).astype(int) @ [1 << 16, 1 << 8, 1])
    return {(code >> 16, code >> 8 & 255, code & 255) for code in codes.tolist()}


def test_a_palette_image_keeps_the_values() -> None:
    image = label_image(LABELS, PALETTE)
    assert np.array_equal(np.asarray(image), LABELS)
    assert np.array_equal(np.reshape(image.getpalette() or [], (256, 3)), PALETTE.table())


def test_void_is_hatched_and_classes_are_plain() -> None:
    pixels = colored(LABELS, PALETTE)
    assert (pixels[10:, :30] == 0).all()
    assert (pixels[10:, 30:] == PALETTE.colors[2]).all()
    assert colours_of(pixels[:10]) == {PALETTE.void, drawing.HATCH}


def test_an_overlay_tints_classes_and_leaves_the_background_clear() -> None:
    image = np.full((40, 60, 3), 100, np.uint8)
    mixed = overlay(image, LABELS, PALETTE, opacity=0.25)
    assert (mixed[10:, :30] == 100).all()
    assert np.allclose(mixed[12:, 32:], 75 + np.array(PALETTE.colors[2]) / 4, atol=0.5)
    assert (mixed[20, 30] == PALETTE.colors[2]).all()  # the outline
    assert colours_of(mixed[:10]) == {(100, 100, 100), drawing.HATCH}
    without = overlay(image, LABELS, Palette.voc(["sky", "road", "tree"]), opacity=1)
    assert (without[10:, :30] == 0).all()  # class 0 is no background


@pytest.mark.parametrize(("width", "opacity"), [(59, 0.5), (60, 1.5)])
def test_an_overlay_that_cannot_be_drawn_is_refused(width: int, opacity: float) -> None:
    with pytest.raises(ValueError, match=rf"\(40, {width}, 3\).* and {opacity}"):
        overlay(np.zeros((40, width, 3), np.uint8), LABELS, PALETTE, opacity)


def test_only_classes_that_are_present_are_listed() -> None:
    found = [(each.name, each.share) for each in present(LABELS, PALETTE)]
    assert found == [("background", 0.375), ("tree", 0.375), ("void", 0.25)]
    assert not present(np.zeros((0, 5), np.uint8), PALETTE)


@pytest.mark.parametrize("num_classes", [2, 21, 255])
@pytest.mark.parametrize("width", [90, 700])
def test_a_legend_holds_a_swatch_for_each_class(num_classes: int, width: int) -> None:
    palette = Palette.generated([f"class number {index} of many" for index in range(num_classes)])
    labels = np.arange(num_classes + 1).clip(max=255)[None]
    labels[0, -1] = 255
    picture = legend([labels], palette, width)
    assert picture.width == width
    assert {*palette.colors, palette.void, drawing.HATCH} <= colours_of(picture)
    assert not {*palette.colors} & colours_of(legend([labels[:, -1:]], palette, width))


def test_a_swatch_of_void_is_hatched() -> None:
    assert colours_of(swatch(255, PALETTE)) == {PALETTE.void, drawing.HATCH, drawing.FAINT_INK}


def test_captions_and_legends_stand_beside_the_tiles() -> None:
    """Tiles keep their pixels; text has paper of its own."""
    image = np.full((300, 400, 3), 90, np.uint8)
    labels = np.full((300, 400), 1, np.uint8)
    picture = np.asarray(panel([{"image": image, "target": labels}], PALETTE))
    assert picture.shape[1] == 2 * 400 + drawing.GAP
    tile = picture[LINE:][:300]
    assert np.array_equal(tile[:, :400], image)
    assert np.array_equal(tile[:, 400 + drawing.GAP :], colored(labels, PALETTE))
    for band in (picture[:LINE], picture[LINE + 300 :]):
        assert (band.max((0, 1)) == 255).all()
        assert (band < 100).any()


def test_small_tiles_are_enlarged_and_large_ones_reduced() -> None:
    labels = np.repeat([[0, 2]], 2, 0)
    enlarged = np.asarray(panel([{"mask": np.kron(labels, np.ones((30, 30), int))}], PALETTE))
    side = 4 * 60
    assert np.array_equal(enlarged[LINE:][:side], colored(np.kron(labels, np.ones((120, 120), int)), PALETTE))
    reduced = np.asarray(panel([{"mask": np.kron(labels, np.ones((400, 400), int))}], PALETTE, largest=100))
    assert np.array_equal(reduced[LINE:][:100], colored(np.kron(labels, np.ones((50, 50), int)), PALETTE))


def test_letters_grow_with_pictures_that_a_screen_shrinks() -> None:
    sizes = [lettering(width) for width in (100, 1000, 3000)]
    assert sizes[0] == sizes[1]
    assert sizes[2].line == 3 * sizes[1].line
    assert sizes[2].font.size == 3 * sizes[1].font.size
