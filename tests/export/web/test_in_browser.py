"""The page in a browser, from its file: pictures, settings, files, keys, and sentences for what it cannot do."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from deeplab_lightning import load
from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf.published import DEEPLAB_LARGEFOV
from deeplab_lightning.export.web.page import write_page
from deeplab_lightning.segmentation.result import SegmentationResult
from tests.browser import watched
from tests.export.web.conftest import Written, scene, with_text
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow
ACCEPTED = ("odd.png", "photo.jpg", "rotated.jpg", "opaque.png")
REFUSED = {"text.png": "cannot be read", "cut.png": "cannot be read", "large.png": "million pixels"}
SHOWN = "#result[data-state=result]"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of `ACCEPTED` and `REFUSED`."""
    folder = tmp_path_factory.mktemp("pictures")
    picture = Image.fromarray(scene(97, 131))
    picture.save(folder / "odd.png")
    picture.save(folder / "photo.jpg", quality=92)
    exif = Image.Exif()
    exif[274] = 6
    picture.save(folder / "rotated.jpg", exif=exif)
    picture.convert("RGBA").save(folder / "opaque.png")
    (folder / "text.png").write_text("no picture")
    (folder / "cut.png").write_bytes((folder / "odd.png").read_bytes()[:20])
    Image.new("1", (8000, 6000)).save(folder / "large.png")
    return folder


@pytest.fixture
def page(browser: Any, written: Written) -> Iterator[Any]:
    """The page, just opened."""
    with watched(browser, written.path.as_uri()) as opened:
        yield opened


def segmented(page: Any, path: Path) -> NDArray[np.uint8]:
    """Give a file to the page, and return the mask that it offers."""
    page.set_input_files("#file", path)
    page.locator(SHOWN).wait_for()
    return saved(page, path.with_suffix(".mask"))


def saved(page: Any, path: Path) -> NDArray[np.uint8]:
    page.locator("#mask[href]").wait_for()
    with page.expect_download() as download:
        page.locator("#mask").click()
    assert download.value.suggested_filename.endswith("_mask.png")
    download.value.save_as(path)
    with Image.open(path) as image:
        assert image.mode == "P"
        return np.asarray(image)


def expected(written: Written, path: Path, **method: Any) -> SegmentationResult:
    return load(written.graph, device="cpu").segment(path, **method)


def shares(result: SegmentationResult) -> list[str]:
    areas = sorted(result.areas.items(), key=lambda area: -area[1])
    return [f"{name} {100 * count / result.mask.size:.1f} %" for name, count in areas if count]


@pytest.mark.parametrize("name", ACCEPTED)
def test_pictures_are_segmented_as_load_does(name: str, written: Written, pictures: Path, page: Any) -> None:
    mask, result = segmented(page, pictures / name), expected(written, pictures / name)
    assert len(np.unique(result.mask)) > 1
    assert mask.shape == result.mask.shape
    assert np.mean(mask == result.mask) >= 0.999
    assert [" ".join(text.split()) for text in page.locator("#legend li").all_inner_texts()] == shares(result)


def test_the_crf_refines_as_in_python_and_its_sliders_change_the_result(
    written: Written, pictures: Path, page: Any
) -> None:
    before = segmented(page, pictures / "odd.png")
    page.locator("#crf").check()
    page.locator("#time", has_text="CRF").wait_for()
    mask = saved(page, pictures / "crf.mask")
    result = expected(written, pictures / "odd.png", crf=DEEPLAB_LARGEFOV)
    assert np.mean(mask == result.mask) >= 0.999
    assert (mask != before).any()
    for name, value in {"bilateral_rgb": 13, "gaussian_weight": 8, "iterations": 2}.items():
        slider = page.locator(f"input[name={name}]")
        old = page.locator("#mask").get_attribute("href")
        slider.fill(str(value))
        slider.dispatch_event("change")
        page.locator(f'#mask[href]:not([href="{old}"])').wait_for()
        assert slider.locator("xpath=..").locator("output").inner_text() == str(value)
    crf = replace(DEEPLAB_LARGEFOV, bilateral_rgb=13, gaussian_weight=8, iterations=2)
    result = expected(written, pictures / "odd.png", crf=crf)
    assert np.mean(saved(page, pictures / "crf.mask") == result.mask) >= 0.999


def test_a_found_crf_runs_as_it_is_and_a_slider_changes_its_own_setting_alone(
    written: Written, pictures: Path, browser: Any, tmp_path: Path
) -> None:
    found: dict[str, Any] = {
        "bilateral_weight": 4.25,
        "bilateral_xy": 200.5,
        "bilateral_rgb": 13.25,
        "gaussian_xy": 0.25,
    }
    graph = with_text(
        written.graph, tmp_path / "found.onnx", "description", '"crf": null', f'"crf": {json.dumps(found)}'
    )
    write_page(graph, tmp_path / "found.html")
    with watched(browser, (tmp_path / "found.html").as_uri()) as page:
        page.locator("#crf").check()
        crf = DenseCRF(**found)
        mask = segmented(page, pictures / "odd.png")
        assert np.mean(mask == expected(written, pictures / "odd.png", crf=crf).mask) >= 0.999
        assert np.mean(mask == expected(written, pictures / "odd.png", crf=rounded(crf)).mask) < 0.999
        for name, value in found.items():
            label = page.locator(f"label:has(input[name={name}])")
            assert label.locator("output").inner_text() == f"{value:g}"
        old = page.locator("#mask").get_attribute("href")
        page.locator("input[name=gaussian_weight]").fill("8")
        page.locator("input[name=gaussian_weight]").dispatch_event("change")
        page.locator(f'#mask[href]:not([href="{old}"])').wait_for()
        moved = expected(written, pictures / "odd.png", crf=replace(crf, gaussian_weight=8))
        assert np.mean(saved(page, pictures / "crf.mask") == moved.mask) >= 0.999


def rounded(crf: DenseCRF) -> DenseCRF:
    """The values that the sliders would make of a CRF."""
    return replace(crf, bilateral_weight=4.5, bilateral_xy=160, bilateral_rgb=13, gaussian_xy=0.5)


def test_pointer_and_keys_show_the_probabilities_at_a_pixel(written: Written, pictures: Path, page: Any) -> None:
    segmented(page, pictures / "odd.png")
    result = expected(written, pictures / "odd.png")
    assert result.probabilities is not None
    box = page.locator("#picture").bounding_box()
    row, column = 70, 31
    page.mouse.move(box["x"] + box["width"] * (column + 0.5) / 131, box["y"] + box["height"] * (row + 0.5) / 97)
    values = result.probabilities[:, row, column]
    order = np.argsort(-values)
    rows = [text.split() for text in page.locator("#readout .row").all_inner_texts()]
    assert [row[0] for row in rows] == [result.palette.class_names[index] for index in order]
    np.testing.assert_allclose([float(row[1]) for row in rows], 100 * values[order], atol=0.2)
    page.locator("#picture").focus()
    left = page.locator("#cross").evaluate("cross => cross.style.left")
    page.keyboard.press("ArrowRight")
    right = page.locator("#cross").evaluate("cross => cross.style.left")
    assert float(right.rstrip("%")) == pytest.approx(float(left.rstrip("%")) + 1)


def test_an_example_modes_and_opacity(written: Written, page: Any) -> None:
    page.locator(".thumb").first.click()
    page.locator(SHOWN).wait_for()
    assert np.mean(saved(page, written.path.with_suffix(".mask")) == expected(written, written.example).mask) >= 0.999
    opaque = "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.filter("
    opaque += "(_, at) => at % 4 === 3).reduce((a, b) => a + b) / canvas.width / canvas.height"
    overlay = page.locator("#classes").evaluate(opaque)
    page.locator("#opacity").fill("100")
    assert overlay < page.locator("#classes").evaluate(opaque)
    for mode, alpha in (("Mask", 255), ("Picture", 0)):
        page.get_by_role("button", name=mode, exact=True).click()
        assert page.locator("#classes").evaluate(opaque) == alpha


def test_a_large_picture_is_reduced_and_its_mask_is_not(written: Written, pictures: Path, page: Any) -> None:
    picture = Image.fromarray(scene(97, 131)).resize((1310, 970), Image.Resampling.BICUBIC)
    picture.save(pictures / "wide.png")
    page.locator("#longest").fill("256")
    mask = segmented(page, pictures / "wide.png")
    assert mask.shape == (970, 1310)
    assert "segmented at 256x189, shown at 1310x970" in page.locator("#remark").inner_text()


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_segmented_is_a_sentence(name: str, pictures: Path, page: Any) -> None:
    page.set_input_files("#file", pictures / name)
    page.locator("#alert").wait_for()
    text = page.locator("#alert").inner_text()
    assert name in text
    assert REFUSED[name] in text
    segmented(page, pictures / "odd.png")
    assert page.locator("#alert").is_hidden()


def test_work_is_cancelled_and_goes_on_with_the_next_wish(written: Written, pictures: Path, page: Any) -> None:
    picture = np.kron(scene(97, 131), np.ones((8, 8, 1), np.uint8))
    Image.fromarray(picture).save(pictures / "huge.png")
    page.locator("#longest").fill("1024")
    page.set_input_files("#file", pictures / "huge.png")
    page.locator("#cancel").click()
    assert page.locator("#status").is_hidden()
    assert page.locator("#result").get_attribute("data-state") == "picture"
    mask = segmented(page, pictures / "odd.png")
    assert np.mean(mask == expected(written, pictures / "odd.png").mask) >= 0.999


@pytest.mark.parametrize(("width", "scheme"), [(400, "dark"), (1400, "light")])
def test_the_page_fits_its_window(width: int, scheme: str, written: Written, browser: Any) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(written.path.as_uri())
    page.locator(".thumb").first.click()
    page.locator(SHOWN).wait_for()
    page.locator("#crf").check()
    page.locator("#time", has_text="CRF").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    summary = page.locator("summary").inner_text()
    assert re.search(r"\d\.\d MB", summary)
    page.close()
