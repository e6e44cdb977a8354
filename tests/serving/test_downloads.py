import json
from io import BytesIO

import numpy as np
from PIL import Image

from deeplab_lightning.palette import Palette
from deeplab_lightning.serving.downloads import KEPT, Downloads
from tests.segmentation.test_polygons import rasterize

PALETTE = Palette(("background", "road", "car"), ((0, 0, 0), (9, 8, 7), (255, 0, 128)))


def test_the_files_hold_the_label_map() -> None:
    mask = np.random.default_rng(0).integers(0, 3, (13, 17), np.uint8)
    downloads = Downloads()
    token = downloads.add(mask, PALETTE, "street.jpg")
    png, polygons = downloads.content(token, "mask.png"), downloads.content(token, "polygons.json")
    assert png is not None
    assert polygons is not None
    image = Image.open(BytesIO(png))
    assert image.mode == "P"
    np.testing.assert_array_equal(np.asarray(image), mask)
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), np.array(PALETTE.colors)[mask])
    file = json.loads(polygons)
    assert file["images"] == [{"id": 1, "file_name": "street.jpg", "width": 17, "height": 13}]
    drawn = np.zeros_like(mask)
    for annotation in file["annotations"]:
        drawn[rasterize(annotation, mask.shape)] = annotation["category_id"]
    np.testing.assert_array_equal(drawn, mask)


def test_old_results_and_unknown_names_are_not_there() -> None:
    downloads = Downloads()
    tokens = [downloads.add(np.zeros((2, 2), np.uint8), PALETTE, "a") for _ in range(KEPT + 1)]
    assert len(set(tokens)) == KEPT + 1
    assert downloads.content(tokens[0], "mask.png") is None
    assert downloads.content(tokens[1], "mask.png") is not None
    assert downloads.content(tokens[1], "../mask.png") is None
    assert downloads.content("", "mask.png") is None
