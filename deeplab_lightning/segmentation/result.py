"""The segmentation of one image: label map, probabilities, pictures, areas and polygons."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeplab_lightning.drawing import label_image, legend, overlay
from deeplab_lightning.palette import Palette
from deeplab_lightning.segmentation.polygons import coco_annotations, coco_file
from deeplab_lightning.segmentation.writers import write_result

ROWS = 128
"""Number of rows that are drawn at once, so that drawing a large image needs little memory."""


@dataclass(frozen=True)
class SegmentationResult:
    """The segmentation of an image.

    Args:
        mask: Label map (H, W), uint8: the index of each pixel's class.
        confidence: Probability of each pixel's class, uint8 (H, W): 0..255 for 0..1; None if it was not asked for.
        probabilities: Probabilities (K, H, W): float32, or float16 on the disk for an image that was cut into tiles;
            None if they were not asked for.
        image: The image, 8-bit RGB (H, W, 3).
        palette: Names and colours of the classes.
        name: Name of the image: for a file its path, for others "image 0" and so on, each name once for a model.
        remarks: Sentences about how it was computed that the user should know.
    """

    mask: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None
    probabilities: NDArray[Any] | None
    image: NDArray[np.uint8]
    palette: Palette
    name: str
    remarks: tuple[str, ...] = ()

    @property
    def areas(self) -> dict[str, int]:
        """The number of pixels of each class that is present, the largest first."""
        counts = np.zeros(len(self.palette.class_names), int)
        for start in range(0, len(self.mask), ROWS):
            counts += np.bincount(self.mask[start : start + ROWS].ravel(), minlength=len(counts))
        order = np.argsort(-counts, kind="stable")
        return {self.palette.class_names[index]: int(counts[index]) for index in order if counts[index]}

    def overlay(self, opacity: float = 0.5) -> Image.Image:
        """Draw the classes over the image, with a legend of those that are present and their shares below.

        Args:
            opacity: Share of the classes' colours in the mixture, from 0 to 1.
        """
        height, width = self.mask.shape
        below = legend([self.mask], self.palette, max(width, 160))
        canvas = Image.new("RGB", (below.width, height + below.height), (255, 255, 255))
        for start in range(0, height, ROWS):
            rows = slice(max(0, start - 1), start + ROWS + 1)  # outlines look at the neighbouring rows
            drawn = overlay(self.image[rows], self.mask[rows], self.palette, opacity)
            skipped = start - rows.start
            canvas.paste(Image.fromarray(drawn[skipped : skipped + ROWS]), (0, start))
        canvas.paste(below, (0, height))
        return canvas

    def polygons(self) -> list[dict[str, Any]]:
        """Return COCO annotations: one for each connected region, with polygons along the borders of its pixels.

        A region with holes has a run-length encoding in place of polygons, because COCO's polygons have no holes. The
        category of a class is its index. Drawing all annotations gives the mask again.
        """
        return coco_annotations(self.mask)

    def save(self, folder: str | Path, name: str | None = None) -> list[Path]:
        """Write masks/NAME.png, overlays/NAME.jpg, confidence/NAME.png, polygons/NAME.json and probabilities/NAME.npz.

        Args:
            folder: The folder, which is created. Files of the same names are replaced.
            name: NAME, which may hold folders; if not given, the name of the image's file without folder and suffix.
                Files of equal names in different folders need it.

        Returns:
            The written files.

        Raises:
            OSError: A file cannot be written.
        """
        return [Path(folder) / path for path in write_result(self, Path(folder), name or Path(self.name).stem)]

    def label_image(self) -> Image.Image:
        """Return the mask as a palette image, whose values are the class indices and whose colours the classes'."""
        return label_image(self.mask, self.palette)

    def coco(self) -> dict[str, Any]:
        """Return the polygons as a whole COCO file with one image."""
        return coco_file(self.mask, self.palette.class_names, self.name)
