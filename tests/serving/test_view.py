import json
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeplab_lightning.palette import Palette
from deeplab_lightning.scores import Score, ScoreName
from deeplab_lightning.segmentation.pictures import Picture
from deeplab_lightning.segmentation.result import SegmentationResult
from deeplab_lightning.segmentation.segmenter import Method
from deeplab_lightning.serving.answers import Answer, ServedModel
from deeplab_lightning.serving.limits import Deadline
from deeplab_lightning.serving.view import LONGEST_MAP, Files, heading, share_map, view
from tests.segmentation.models import describe_small

FILES = Files("/results/x/mask.png", "/results/x/polygons.json", "street")
HOSTILE = '"><img src=x onerror=alert(1)>{{7*7}}${7*7}'


class Parsed(HTMLParser):
    """The tags with their attributes, and the words between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += [data.strip()] if data.strip() else []

    def pixels(self, name: str) -> NDArray[np.uint8]:
        """The pixels of the image of a class."""
        (source,) = [str(given["src"]) for tag, given in self.tags if tag == "img" and given.get("class") == name]
        return np.asarray(Image.open(BytesIO(b64decode(source.partition(",")[2]))))


def test_the_view_holds_the_label_map_the_probabilities_and_the_shares(
    model: ServedModel, image: NDArray[np.uint8]
) -> None:
    answer = model.answer(Picture(image, "a"), Method(), Deadline(60))
    parsed = Parsed(view(answer, FILES))
    np.testing.assert_array_equal(parsed.pixels("dl-labels"), answer.mask)
    assert answer.result.probabilities is not None
    shares = parsed.pixels("dl-shares")
    np.testing.assert_array_equal(shares, share_map(answer.result.probabilities))
    np.testing.assert_array_equal(shares[:40, :, 0], answer.mask)
    np.testing.assert_array_equal(shares[40:, :, 0], answer.result.confidence)
    counts = {name: f"{100 * count / answer.mask.size:.1f} %" for name, count in answer.result.areas.items()}
    at = [parsed.words.index(name) for name in counts]
    assert {parsed.words[index]: parsed.words[index + 1] for index in at} == counts
    assert {"/results/x/mask.png", "/results/x/polygons.json"} <= {str(given.get("href")) for _, given in parsed.tags}


def test_probabilities_are_means_of_cells_with_the_largest_first() -> None:
    probabilities = np.zeros((4, 2, 2 * LONGEST_MAP), np.float32)
    probabilities[2, :, ::2] = 1
    probabilities[1] = 0.25 * (1 - probabilities[2])
    probabilities[3] = 1 - probabilities[1] - probabilities[2]
    shares = share_map(probabilities)
    assert shares.shape == (2, LONGEST_MAP, 3)
    assert shares[0, 0].tolist() == [2, 3, 1]
    assert shares[1, 0].tolist() == [128, 96, 32]


def test_two_classes_fill_three_channels() -> None:
    shares = share_map(np.stack([np.full((3, 5), 0.25), np.full((3, 5), 0.75)]))
    assert shares.shape == (6, 5, 3)
    assert shares[3:, :, 2].max() == 0
    assert shares[:3].max() == 1


def test_names_of_a_strange_model_are_text() -> None:
    palette = Palette((HOSTILE, "b", "c"), ((0, 0, 0), (1, 2, 3), (4, 5, 6)))
    mask = np.zeros((2, 2), np.uint8)
    result = SegmentationResult(
        mask, mask, np.full((3, 2, 2), 0.3, np.float32), np.zeros((2, 2, 3), np.uint8), palette, "a", (HOSTILE,)
    )
    parsed = Parsed(view(Answer(result, mask, 0.1), FILES))
    assert not any("onerror" in given for _, given in parsed.tags)
    (element,) = [given for tag, given in parsed.tags if tag == "deeplab-view"]
    assert json.loads(str(element["data-names"])) == [HOSTILE, "b", "c"]
    parsed = Parsed(heading(HOSTILE, describe_small(palette=palette)))
    assert not [tag for tag, _ in parsed.tags if tag == "img"]


def test_the_heading_has_the_score_and_how_it_was_measured() -> None:
    identity = {
        "dataset": "CamVid",
        "split": "val",
        "labels": "masks",
        "num_images": 101,
        "size_policy": "whole image",
        "output_stride": 16,
        "align_corners": True,
        "scales": [1.0],
        "flip": False,
        "precision": "32-true",
        "weights": "of step 7",
        "crf": None,
    }
    score = Score(ScoreName("val", "miou"), 0.7123, identity)
    words = " ".join(Parsed(heading("small", describe_small(score=score))).words)
    assert all(
        word in words for word in ("small", "DeepLabV3", "mobilenet_v2", "71.2 %", "val/miou", "CamVid", "3 classes")
    )
    assert "no score" in " ".join(Parsed(heading("small", describe_small())).words)
