"""The HTML of an answer: the picture under its label map, the classes with their shares, probabilities at a point.

The page's script (view.js) draws the label map and reads the probabilities without asking the server. Both travel as
PNGs whose values are numbers, because every browser reads those exactly.
"""

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jinja2 import Environment, PackageLoader
from numpy.typing import NDArray
from PIL import Image

from deeplab_lightning.description import ModelDescription
from deeplab_lightning.drawing import percent, present
from deeplab_lightning.identity import describe_identity
from deeplab_lightning.palette import BACKGROUND
from deeplab_lightning.serving.answers import Answer

LONGEST_SHOWN = 1280
"""Longest side in pixels of the picture and the label map on the page."""
LONGEST_MAP = 384
"""Longest side of the map of probabilities, whose cells hold means."""
NUM_SHOWN = 3
"""Number of classes whose probabilities are shown at a point: the channels of a colour PNG."""

TEMPLATES = Environment(loader=PackageLoader("deeplab_lightning.serving", "."), autoescape=True, trim_blocks=True)


@dataclass(frozen=True)
class Files:
    """The addresses of the files of an answer.

    Args:
        mask: Address of the label map.
        polygons: Address of the COCO file.
        name: Beginning of the names of the saved files.
    """

    mask: str
    polygons: str
    name: str


def view(answer: Answer, files: Files) -> str:
    """Return the HTML of an answer."""
    result = answer.result
    assert result.probabilities is not None
    names, colors = result.palette.class_names, result.palette.colors
    picture, labels = Image.fromarray(result.image), Image.fromarray(result.mask)
    picture.thumbnail((LONGEST_SHOWN, LONGEST_SHOWN))
    labels = labels.resize(picture.size, Image.Resampling.NEAREST)
    return TEMPLATES.get_template("view.html.jinja").render(
        names=names,
        colors=colors,
        clear=names.index(BACKGROUND) if BACKGROUND in names else None,
        picture=_address(picture, "JPEG", quality=88),
        labels=_address(labels, "PNG"),
        shares=_address(Image.fromarray(share_map(result.probabilities)), "PNG"),
        size=picture.size,
        legend=[(each, colors[each.index], percent(each.share)) for each in present(answer.mask, result.palette)],
        remarks=result.remarks,
        seconds=answer.seconds,
        files=files,
    )


def heading(name: str, description: ModelDescription) -> str:
    """Return the HTML of a model's name, network, classes and score, with the way the score was measured."""
    score = description.score
    return TEMPLATES.get_template("model.html.jinja").render(
        name=name,
        network=description.network,
        backbone=description.arguments.get("backbone"),
        classes=list(zip(description.class_names, description.palette.colors, strict=True)),
        score=None if score is None else (str(score.name), percent(score.value), describe_identity(score.identity)),
    )


def share_map(probabilities: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the largest probabilities (K, H, W) on a coarse grid, with their classes, as a colour image (2h, w, 3).

    The upper half holds the indices of the classes, the largest probability's first, the lower half the probabilities,
    0..255 for 0..1. If there are fewer than three classes, the last ones repeat with probability 0.
    """
    values = torch.from_numpy(np.asarray(probabilities, np.float32))
    count, height, width = values.shape
    factor = min(1.0, LONGEST_MAP / max(height, width))
    size = max(1, round(height * factor)), max(1, round(width * factor))
    shares, classes = F.adaptive_avg_pool2d(values, size).topk(min(NUM_SHOWN, count), 0)
    missing = NUM_SHOWN - len(shares)
    shares = torch.cat([shares, shares.new_zeros(missing, *size)])
    classes = torch.cat([classes, classes[-1:].expand(missing, *size)])
    both = torch.cat([classes.byte(), (shares * 255).round().byte()], 1)
    return np.ascontiguousarray(both.permute(1, 2, 0).numpy())


def _address(image: Image.Image, kind: str, **options: Any) -> str:
    file = BytesIO()
    image.save(file, kind, **options)
    return f"data:image/{kind.lower()};base64,{b64encode(file.getvalue()).decode()}"
