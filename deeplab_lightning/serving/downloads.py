"""The files that visitors may download: the label maps of the last results, under names that cannot be guessed."""

import json
import secrets
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from io import BytesIO
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from deeplab_lightning.drawing import label_image
from deeplab_lightning.palette import Palette
from deeplab_lightning.segmentation.polygons import coco_file

KEPT = 32
"""Number of results that can be downloaded; older ones are forgotten."""
FORMATS = {"mask.png": "image/png", "polygons.json": "application/json"}
"""The files of a result, and their media types."""


@dataclass(frozen=True)
class _Kept:
    name: str
    png: bytes
    labels: bytes
    size: tuple[int, int]
    palette: Palette


class Downloads:
    """The label maps of the last results, in memory, as compressed as their files."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = Lock()

    def add(self, mask: NDArray[np.uint8], palette: Palette, name: str) -> str:
        """Keep a label map (H, W), and return the word by which it is found.

        Args:
            mask: The label map.
            palette: Names and colours of the classes.
            name: Name of the picture's file.
        """
        file = BytesIO()
        label_image(mask, palette).save(file, "PNG")
        token = secrets.token_urlsafe(16)
        with self._lock:
            labels = zlib.compress(mask.tobytes())
            self._kept[token] = _Kept(
                name, file.getvalue(), labels, size=(mask.shape[0], mask.shape[1]), palette=palette
            )
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return token

    def content(self, token: str, kind: str) -> bytes | None:
        """Return the content of a file of `FORMATS`, or None if there is none.

        The label map is a palette PNG, whose values are the class indices. The polygons are a COCO file.
        """
        with self._lock:
            kept = self._kept.get(token)
        if kept is None or kind not in FORMATS:
            return None
        if kind == "mask.png":
            return kept.png
        mask = np.frombuffer(zlib.decompress(kept.labels), np.uint8).reshape(kept.size)
        return json.dumps(coco_file(mask, kept.palette.class_names, kept.name)).encode()
