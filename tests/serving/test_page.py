"""`deeplab serve` with two models, asked by a browser (view.js included) and by requests that no browser makes.

One server answers all tests but that of its end. Those with a browser need Chromium, the others do not.
"""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from deeplab_lightning import load
from deeplab_lightning.crf.dense_crf import DenseCRF
from tests.browser import watched
from tests.patience import PATIENCE
from tests.segmentation.models import describe_small, write_checkpoint
from tests.segmentation.test_polygons import rasterize

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("gradio") is None, reason="gradio is missing"),  # its import takes seconds
]
SIZE = (96, 128)
REFUSED = {
    "text.png": "cannot be read as an image",
    "cut.jpg": "truncated",
    "deep.tif": "value_range",
    "bomb.png": "million pixels",
    "large.png": "exceed",
}
FOUND: dict[str, Any] = {"bilateral_weight": 4.25, "bilateral_xy": 200.5, "bilateral_rgb": 13.25, "gaussian_xy": 0.25}
"""A CRF between the steps of the sliders and beyond their ends."""
ACCEPTED = {"scene.png": SIZE, "alpha.png": SIZE, "rotated.jpg": SIZE[::-1]}


@dataclass
class Server:
    """A running server.

    Args:
        address: Its address.
        folder: The folder with the checkpoints and the pictures.
        uploads: Folder of its uploads.
        process: Its process.
    """

    address: str
    folder: Path
    uploads: Path
    process: subprocess.Popen[str]

    def ask(self, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        """The status and the text of an answer to a GET, or to a POST of JSON."""
        data = None if body is None else json.dumps(body).encode()
        given = {"Content-Type": "application/json", **{name.replace("_", "-"): each for name, each in headers.items()}}
        request = urllib.request.Request(self.address + path, data, given)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(errors="replace")


def write_pictures(folder: Path) -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
    scene = coarse.resize(SIZE[::-1], Image.Resampling.BICUBIC)
    scene.save(folder / "scene.png")
    scene.convert("RGBA").save(folder / "alpha.png")
    exif = Image.Exif()
    exif[274] = 6
    scene.save(folder / "rotated.jpg", exif=exif)
    (folder / "text.png").write_text("no picture")
    (folder / "cut.jpg").write_bytes((folder / "rotated.jpg").read_bytes()[:1500])
    tifffile.imwrite(folder / "deep.tif", rng.integers(0, 4096, (20, 20, 3)).astype(np.uint16))
    Image.new("1", (1500, 1500)).save(folder / "bomb.png")
    (folder / "large.png").write_bytes(bytes(1_100_000))


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Server]:
    """A server of two models in a folder, with the pictures beside them; the first has a CRF of its own."""
    for seed, (name, crf) in enumerate({"first": FOUND, "second": None}.items()):
        (folder / name).mkdir()
        write_checkpoint(folder / name / "best.ckpt", describe_small(crf=crf), seed)
    write_pictures(folder)
    uploads = folder / "temporary"
    uploads.mkdir()
    command = [sys.executable, "-m", "deeplab_lightning", "serve", "first/best.ckpt", "second/best.ckpt", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--device", "cpu", *options],
        cwd=folder,
        env=os.environ | {"TMPDIR": str(uploads)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(r"(http://127\.0\.0\.1:\d+)/ shows first/best.ckpt, second/best.ckpt; ", line)
        assert found is not None, line + process.communicate()[1]
        yield Server(found[1], folder, uploads, process)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    options = ("--examples", "scene.png", "--megabytes", "1", "--megapixels", "2")
    with serving(tmp_path_factory.mktemp("served"), *options) as started:
        yield started


@pytest.fixture
def page(server: Server, browser: Any) -> Iterator[Any]:
    """The page, just opened."""
    with watched(browser, server.address, console=False) as opened:
        opened.get_by_role("button", name="Segment").wait_for()
        yield opened


def drop(page: Any, path: Path) -> None:
    """Give a file to the page, and wait until both models have answered it."""
    page.set_input_files("input[type=file]", path)
    answered(page)


def answered(page: Any, before: str = "") -> str:
    """Wait until both models show an answer that is not the one of before; return the first one's name."""
    ready = f'deeplab-view[data-ready]:not([data-answer="{before}"])'
    page.locator(ready).nth(1).wait_for()
    page.locator(".pending").first.wait_for(state="detached")
    return str(page.locator("deeplab-view").first.get_attribute("data-ready"))


def drawn(page: Any) -> list[list[int]]:
    """The colours of the label maps as they are drawn, as sums over all pixels."""
    program = """views => views.map(view => {
        const canvas = view.querySelector("canvas");
        const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return [0, 1, 2, 3].map(channel => data.filter((_, at) => at % 4 === channel).reduce((a, b) => a + b, 0));
    })"""
    sums: list[list[int]] = page.locator("deeplab-view").evaluate_all(program)
    return sums


@pytest.mark.parametrize("name", ACCEPTED)
def test_pictures_are_segmented_and_the_files_hold_what_load_gives(name: str, server: Server, page: Any) -> None:
    drop(page, server.folder / name)
    for number, folder in enumerate(("first", "second")):
        expected = load(server.folder / folder / "best.ckpt", device="cpu").segment(server.folder / name)
        assert expected.mask.shape == ACCEPTED[name]
        shares = [f"{key} {100 * count / expected.mask.size:.1f} %" for key, count in expected.areas.items()]
        column = page.locator("deeplab-view").nth(number)
        assert [" ".join(text.split()) for text in column.locator(".dl-legend li").all_inner_texts()] == shares
        links = [str(link.get_attribute("href")) for link in column.locator(".dl-files a").all()]
        with urllib.request.urlopen(server.address + links[0]) as answer:
            mask = np.asarray(Image.open(BytesIO(answer.read())))
        np.testing.assert_array_equal(mask, expected.mask)
        file = json.loads(server.ask(links[1])[1])
        assert file["images"][0]["file_name"] == name
        polygons = np.zeros_like(mask)
        for annotation in file["annotations"]:
            polygons[rasterize(annotation, mask.shape)] = annotation["category_id"]
        np.testing.assert_array_equal(polygons, expected.mask)


def test_the_pointer_shows_probabilities_in_all_columns_without_a_request(server: Server, page: Any) -> None:
    drop(page, server.folder / "scene.png")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    box = page.locator(".dl-stage").first.bounding_box()
    row, column = 70, 31
    page.mouse.move(
        box["x"] + box["width"] * (column + 0.5) / SIZE[1], box["y"] + box["height"] * (row + 0.5) / SIZE[0]
    )
    for number, folder in enumerate(("first", "second")):
        result = load(server.folder / folder / "best.ckpt", device="cpu").segment(server.folder / "scene.png")
        assert result.probabilities is not None
        shares = result.probabilities[:, row, column]
        rows = page.locator("deeplab-view").nth(number).locator(".dl-probability").all_inner_texts()
        names = [text.split()[0] for text in rows]
        assert names == [result.palette.class_names[index] for index in np.argsort(-shares)]
        shown = [int(text.split()[1]) for text in rows]
        np.testing.assert_allclose(shown, 100 * np.sort(shares)[::-1], atol=0.8)
    assert [url for url in asked if url.startswith("http")] == []


def test_keys_modes_opacity_and_the_legend_change_what_is_drawn(server: Server, page: Any) -> None:
    drop(page, server.folder / "scene.png")
    overlay = drawn(page)
    page.locator(".dl-stage").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator(".dl-cross").nth(1).evaluate("cross => cross.style.left") == "51%"
    page.get_by_role("button", name="Mask").nth(1).click()
    mask = drawn(page)
    assert all(sums[3] == 255 * SIZE[0] * SIZE[1] for sums in mask)
    page.get_by_role("button", name="Picture").first.click()
    assert all(sums[3] == 0 for sums in drawn(page))
    page.get_by_role("button", name="Overlay").first.click()
    page.mouse.move(0, 0)
    assert drawn(page) == overlay
    page.locator(".dl-opacity input").first.fill("100")
    assert all(more[3] > less[3] for more, less in zip(drawn(page), overlay, strict=True))
    full = drawn(page)
    page.locator(".dl-legend li").first.hover()
    assert drawn(page)[0] != full[0]
    assert drawn(page)[1] == full[1]


def test_the_crf_and_the_scales_change_the_result_and_its_drawing(server: Server, page: Any) -> None:
    drop(page, server.folder / "scene.png")
    first, colors = answered(page), drawn(page)
    page.get_by_role("button", name="Dense CRF").click()
    page.get_by_label("Refine borders by the dense CRF").check()
    second = answered(page, first)
    assert drawn(page) != colors
    segmenter, shown = load(server.folder / "first" / "best.ckpt", device="cpu"), page.locator("deeplab-view").first

    def check_mask(crf: DenseCRF | str) -> None:
        expected = segmenter.segment(server.folder / "scene.png", crf=crf)
        address = server.address + str(shown.locator(".dl-files a").first.get_attribute("href"))
        with urllib.request.urlopen(address) as answer:
            np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(answer.read()))), expected.mask)

    check_mask("checkpoint")
    assert page.get_by_role("spinbutton", name="Range of appearance in pixels").input_value() == "200.5"
    refined = drawn(page)
    weight = page.get_by_role("spinbutton", name="Weight of smoothness")
    assert weight.input_value() == "3"
    weight.fill("20")
    weight.press("Enter")
    weight.blur()
    third = answered(page, second)
    assert drawn(page) != refined
    check_mask(DenseCRF(**FOUND | {"gaussian_weight": 20.0}))
    page.get_by_role("button", name="Scales and mirroring").click()
    page.get_by_label("0.5", exact=True).check()
    assert answered(page, third) not in (first, second, third)


def test_a_picture_is_pasted(server: Server, page: Any) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.address)
    picture = b64encode((server.folder / "scene.png").read_bytes()).decode()
    copy = """async picture => {
        const blob = await (await fetch("data:image/png;base64," + picture)).blob();
        await navigator.clipboard.write([new ClipboardItem({"image/png": blob})]);
    }"""
    page.evaluate(copy, picture)
    page.get_by_role("button", name="Paste from clipboard").click()
    answered(page)
    expected = load(server.folder / "first" / "best.ckpt", device="cpu").segment(server.folder / "scene.png")
    shares = [f"{100 * count / expected.mask.size:.1f} %" for count in expected.areas.values()]
    assert page.locator("deeplab-view").first.locator(".dl-legend .dl-share").all_inner_texts() == shares


def test_an_example_is_one_click(page: Any) -> None:
    page.get_by_role("button", name="scene.png").click()
    assert answered(page)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_segmented_is_a_sentence(name: str, server: Server, page: Any) -> None:
    page.set_input_files("input[type=file]", server.folder / name)
    page.locator(".toast-body").first.wait_for()
    text = page.locator(".toast-body").first.inner_text()
    assert name in text
    assert REFUSED[name] in text
    assert str(server.uploads) not in text
    drop(page, server.folder / "scene.png")


def test_an_empty_request_is_a_sentence(page: Any) -> None:
    page.get_by_role("button", name="Segment").click()
    page.locator(".toast-body").wait_for()
    assert "there is no picture" in page.locator(".toast-body").inner_text()


@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (1400, "light")])
def test_the_page_fits_its_window(width: int, scheme: str, server: Server, browser: Any) -> None:
    opened = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    opened.goto(server.address)
    opened.get_by_role("button", name="Segment").wait_for()
    drop(opened, server.folder / "scene.png")
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    opened.close()


@pytest.mark.parametrize("path", ["/etc/passwd", "{folder}/first/best.ckpt", "{folder}/scene.png", "first/best.ckpt"])
@pytest.mark.parametrize("route", ["/gradio_api/file=", "/file=", "/results/", "/static/../../../../../..", "/assets/"])
def test_no_file_of_the_server_is_served(route: str, path: str, server: Server) -> None:
    status, text = server.ask(route + path.format(folder=server.folder))
    assert status >= 400
    assert "root:" not in text


@pytest.mark.parametrize(
    "data",
    [
        [],
        [None],
        [None] * 11,
        [3, [1], False, True, "deeplab_largefov", 10, 4, 121, 5, 3, 3],
        [{"path": None, "url": "data:image/png;base64,AAAA", "meta": {"_type": "gradio.FileData"}}] + [None] * 10,
        [{"path": "{uploads}/x.png", "meta": {"_type": "gradio.FileData"}}, "x", {}, [], 1, *["9" * 999] * 6],
    ],
)
@pytest.mark.parametrize("name", ["segment", "preset"])
def test_direct_requests_give_an_error_and_the_server_stays(name: str, data: list[Any], server: Server) -> None:
    (uploads,) = server.uploads.glob("deeplab-*")
    sent = json.loads(json.dumps(data).replace("{uploads}", str(uploads)))
    status, text = server.ask(f"/gradio_api/call/{name}", {"data": sent})
    if status == 200:
        status, text = server.ask(f"/gradio_api/call/{name}/{json.loads(text)['event_id']}")
        assert "event: error" in text
    assert server.ask("/")[0] == 200
    assert server.process.poll() is None


@pytest.mark.parametrize("path", ["/etc/passwd", "http://127.0.0.1:1/a.png"])
def test_direct_requests_cannot_name_other_files(path: str, server: Server) -> None:
    body = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}
    assert server.ask("/gradio_api/call/segment", body)[0] == 403
    assert server.ask("/", Host="evil.example")[0] == 421
    assert server.ask("/gradio_api/call/segment", {"data": []}, Origin="http://evil.example")[0] == 403


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_server_in_one_line_and_removes_the_uploads(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    with serving(tmp_path) as server:
        assert server.ask("/gradio_api/info")[0] == 200
        assert list(server.uploads.glob("deeplab-*"))
        server.process.send_signal(number)
        _, errors = server.process.communicate(timeout=PATIENCE)
    assert (errors, server.process.returncode) == (f"deeplab: error: ended by {number.name}\n", status)
    assert not list(server.uploads.glob("deeplab-*"))
