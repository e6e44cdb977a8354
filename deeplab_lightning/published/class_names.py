"""The names and colours of the classes of published checkpoints."""

from deeplab_lightning.datasets import ade20k_names, cityscapes, coco_names, voc
from deeplab_lightning.palette import CITYSCAPES_COLORS, Palette

VOID = "void"
LABELLED = tuple(name for name in coco_names.THINGS_AND_STUFF if name not in coco_names.NEVER_LABELLED)
PALETTES = {
    "voc": Palette.voc(voc.CLASS_NAMES),
    "cityscapes": Palette(cityscapes.CLASS_NAMES, CITYSCAPES_COLORS),
    "ade20k": Palette(ade20k_names.CLASS_NAMES, ade20k_names.COLORS),
    "ade20k_with_void": Palette((VOID, *ade20k_names.CLASS_NAMES), ((0, 0, 0), *ade20k_names.COLORS)),
    "coco_stuff_182": Palette.voc(coco_names.THINGS_AND_STUFF),
    "coco_stuff_171": Palette.voc(LABELLED),
}
"""Names and colours by kind of classes. Other kinds have numbers: their order is not in a source that is known here."""


def palette_of(classes: str | None, num_classes: int) -> Palette | None:
    """Return the names and colours of a kind of classes; None if they are not known or are not as many.

    Args:
        classes: Kind of the classes in the catalogue.
        num_classes: Number of classes of the network.
    """
    palette = PALETTES.get(classes or "")
    return palette if palette is not None and len(palette.class_names) == num_classes else None
