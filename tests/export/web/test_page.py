"""The page is one file that loads nothing, runs no foreign script, and holds the graph as it was exported."""

import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.crf.sliders import SLIDERS
from deeplab_lightning.datasets.images import DataError
from deeplab_lightning.export.web.page import check_model, page_facts, read_example, write_page
from deeplab_lightning.export.web.runtime import read_runtime
from deeplab_lightning.segmentation.pictures import PixelReader
from tests.export.conftest import Exported
from tests.export.web.conftest import Written, scene, with_text
from tests.segmentation.models import PIXELS


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the texts of its scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, dict[str, str | None], str]] = []
        self.is_open = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.is_open = True
            self.texts.append((tag, dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self.is_open = False

    def handle_data(self, data: str) -> None:
        if self.is_open:
            tag, attributes, text = self.texts.pop()
            self.texts.append((tag, attributes, text + data))


def test_nothing_is_loaded_and_only_its_own_scripts_run(written: Written) -> None:
    elements = Elements(written.path.read_text())
    addresses = [str(value) for _, attributes in elements.found for name, value in attributes.items()
                 if name in ("src", "href", "srcset", "action", "data", "poster")]  # fmt: skip
    assert len(addresses) == 2
    assert all(address.startswith("data:") for address in addresses)
    policy = next(str(each["content"]) for tag, each in elements.found if tag == "meta" and "http-equiv" in each)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert not {"connect-src", "frame-src", "object-src", "font-src"} & set(rules)
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        run = [text for kind, each, text in elements.texts if kind == tag and "type" not in each]
        hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in run]
        assert len(hashes) == {"script": 3, "style": 1}[tag]
        assert [word for word in rules[rule].split() if word.startswith("'sha")] == hashes
        assert "'unsafe-inline'" not in rules[rule]
    assert not re.search(r"https?://", re.sub(r'<script type="text/plain".*?</script>', "", written.path.read_text()))


def test_it_holds_the_graph_the_runtime_and_the_example_unchanged(written: Written) -> None:
    elements = Elements(written.path.read_text())
    parts = {str(each["id"]): text for tag, each, text in elements.texts if each.get("type") == "text/plain"}
    unpacked = {
        name: gzip.decompress(base64.b64decode(text, validate=True)) for name, text in parts.items() if name != "worker"
    }
    assert unpacked["graph"] == written.graph.read_bytes()
    digests = [hashlib.sha256(unpacked[name]).hexdigest() for name in ("runtime", "wasm")]
    assert digests == list(read_runtime().digests.values())
    (example,) = ((each["alt"], each["src"]) for tag, each in elements.found if tag == "img")
    content = base64.b64encode(written.example.read_bytes()).decode()
    assert example == (written.example.name, f"data:image/png;base64,{content}")
    assert read_runtime().licence.strip().split("\n")[-1] in written.path.read_text()


def test_its_size_is_what_it_says(written: Written) -> None:
    assert written.size.page == written.path.stat().st_size < 7e6
    assert str(written.size).startswith(f"{written.size.page / 1e6:.1f} MB: ")
    assert f"This file has {written.size}" in written.path.read_text()


def test_the_sliders_are_the_settings_of_the_crf(written: Written, exported: Exported) -> None:
    elements = Elements(written.path.read_text())
    ranges = {str(each["name"]): each for _, each in elements.found if each.get("type") == "range" and "name" in each}
    assert {name: (float(str(each["min"])), float(str(each["max"])), float(str(each["step"]))) for name, each in
            ranges.items()} == {name: (*each.limits, each.step) for name, each in SLIDERS.items()}  # fmt: skip
    own = {"bilateral_weight": 4.25, "iterations": 30, "engine": "torch"}
    facts = page_facts(replace(exported.segmenter.description, crf=own))
    assert facts["preset"] == "found for this model"
    found = facts["presets"]["found for this model"]
    assert (found["bilateral_weight"], found["iterations"]) == (4.25, 30)
    assert found.keys() == facts["presets"]["deeplab_largefov"].keys() > set(ranges)
    (text,) = (text for tag, each, text in elements.texts if each.get("type") == "application/json")
    assert json.loads(text)["preset"] == "deeplab_largefov"
    assert json.loads(text)["model"]["classNames"] == ["background", "road", "car"]


def test_large_examples_and_those_that_no_browser_reads_become_small_jpegs(tmp_path: Path) -> None:
    pixels = np.kron(scene(35, 75), np.ones((20, 20, 1), np.uint8))
    Image.fromarray(pixels).save(tmp_path / "large.png", compress_level=0)
    Image.fromarray(pixels[:40, :60]).save(tmp_path / "small.tif")
    sizes = {"large.png": (1024, 478), "small.tif": (60, 40)}
    for name, size in sizes.items():
        kind, _, content = read_example(tmp_path / name, PixelReader(PIXELS)).address.partition(",")
        picture: Any = Image.open(BytesIO(base64.b64decode(content)))
        assert (kind, picture.size) == ("data:image/jpeg;base64", size)
        shown = np.asarray(Image.fromarray(pixels if name == "large.png" else pixels[:40, :60]).resize(size), int)
        assert np.abs(np.asarray(picture, int) - shown).mean() < 12
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DataError, match=r"text\.png"):
        read_example(tmp_path / "text.png", PixelReader(PIXELS))


def test_what_no_browser_can_run_is_refused(written: Written, exported: Exported, tmp_path: Path) -> None:
    description = exported.segmenter.description
    check_model(replace(description, crf={"bilateral_rgb": 3.25}))
    for wrong in (replace(PIXELS, value_range=(0.0, 4095.0)), replace(PIXELS, mean=(0.5,), std=(0.2,))):
        with pytest.raises(ValueError, match="--format onnx"):
            check_model(replace(description, normalization=wrong))
    with pytest.raises(ValueError, match="sigma"):
        check_model(replace(description, crf={"sigma": 3}))
    graph = with_text(written.graph, tmp_path / "pixels.onnx", "inputs", "normalized", "pixels")
    with pytest.raises(ValueError, match=r"pixels\.onnx"):
        write_page(graph, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
