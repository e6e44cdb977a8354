"""The executed copies of the notebooks are those of the present notebooks, small, and show what the cells display."""

import os
import re
from base64 import b64encode
from io import BytesIO, StringIO
from pathlib import Path

import pytest
from IPython.utils.capture import CapturedIO
from PIL import Image

from tests.notebook_pages import PAGES, Page, printed, relinked
from tests.notebooks import NOTEBOOKS, read

LARGEST = 400_000
"""Number of bytes that the pictures of a page may have."""


@pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS])
def test_a_page_is_an_executed_copy_of_its_notebook(name: str) -> None:
    text = (PAGES / f"{name}.md").read_text()
    cells = read(name).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    assert re.findall(r"^```python\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL) == code, "make notebooks"
    assert all(relinked(cell.source) in text for cell in cells if cell.cell_type == "markdown"), "make notebooks"
    pictures = re.findall(rf"\]\(({name}/\w+\.webp)\)", text)
    assert pictures
    assert sorted(pictures) == sorted(path.relative_to(PAGES).as_posix() for path in (PAGES / name).iterdir())
    assert sum((PAGES / each).stat().st_size for each in pictures) < LARGEST


def png(width: int) -> bytes:
    file = BytesIO()
    Image.new("RGB", (width, 20), (200, 0, 0)).save(file, "PNG")
    return file.getvalue()


def test_a_page_shows_what_a_cell_displays_and_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("DEEPLAB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DEEPLAB_STEPS", "3")
    page = Page("mine")
    page.add_text("# One, two\n\n[data](../experiments/base.yaml)")
    shown = [{"image/png": png(2800)}, {"text/plain": "interactive()"}, {"text/markdown": "| a |"}]
    displayed = [{"data": data} for data in [*shown, {"image/png": b64encode(png(30)).decode()}]]
    page.add_code("f()", CapturedIO(StringIO(), None, displayed))
    page.write(tmp_path)
    assert (tmp_path / "mine.md").read_text().split("\n\n") == [
        "# One, two",
        "[data](../../experiments/base.yaml)",
        "*An executed copy of notebooks/mine.ipynb, on what `make demo` leaves, with `DEEPLAB_STEPS=3`.*",
        "```python\nf()\n```",
        "![one two](mine/one_two.webp)",
        "| a |",
        "![one two](mine/one_two_2.webp)\n",
    ]
    sizes = [
        Image.open(BytesIO((tmp_path / "mine" / f"{name}.webp").read_bytes())).size for name in ("one_two", "one_two_2")
    ]
    assert sizes == [(1400, 10), (30, 20)]


def test_printed_text_is_what_a_terminal_shows_in_the_end() -> None:
    assert printed("\x1b[1m 0 %\r50 %\rdone\x1b[0m  \n\nnext\n") == "done\n\nnext"


def test_links_hold_in_another_folder() -> None:
    text = "[a](../docs/story.md) [b](05_hard_images.ipynb) [c](https://arxiv.org) [d](#here)"
    assert relinked(text) == "[a](../story.md) [b](05_hard_images.md) [c](https://arxiv.org) [d](#here)"
