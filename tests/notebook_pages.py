"""Execute the notebooks, and write them with their outputs to docs/executed/, as pages of the documentation.

    make demo
    python -m tests.notebook_pages [NAME ...]

The pages are committed, so that the site is built without a trained network. Without names, all notebooks are executed.
"""

import os
import re
import shutil
import sys
from base64 import b64decode
from collections import Counter
from io import BytesIO
from pathlib import Path
from posixpath import normpath, relpath

from IPython.utils.capture import CapturedIO
from PIL import Image

from tests.integration.conftest import ROOT
from tests.notebooks import NOTEBOOKS, cells, shell

PAGES = ROOT / "docs" / "executed"
LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)")
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
WIDEST = 1400
"""Width in pixels to which wider pictures are reduced."""


class Page:
    """A page in Markdown with pictures.

    Args:
        name: Name of the notebook.
    """

    def __init__(self, name: str) -> None:
        self.name, self.parts, self.pictures = name, list[str](), dict[str, bytes]()
        self._heading, self._counts = name, Counter[str]()

    def add_text(self, text: str) -> None:
        """Add the text of a cell. How the notebook was executed is said below its beginning."""
        if found := re.match(r"#+ (.*)", text):
            self._heading = re.sub(r"\W+", "_", found[1].lower()).strip("_")
        self.parts.append(relinked(text))
        if len(self.parts) == 1:
            self.parts.append(
                f"*An executed copy of notebooks/{self.name}.ipynb, on what `make demo` leaves{given()}.*"
            )

    def add_code(self, source: str, captured: CapturedIO) -> None:
        """Add the code of a cell and what it displays and prints."""
        self.parts.append(f"```python\n{source}\n```")
        for output in captured.outputs:
            if "image/png" in output.data:
                self._add_picture(output.data["image/png"])
            elif "text/markdown" in output.data:
                self.parts.append(output.data["text/markdown"])
        if text := printed(captured.stdout):
            self.parts.append(f"```text\n{text}\n```")

    def _add_picture(self, png: bytes | str) -> None:
        self._counts[self._heading] += 1
        count = self._counts[self._heading]
        name = f"{self._heading}{'' if count == 1 else f'_{count}'}.webp"
        self.pictures[name] = webp(b64decode(png) if isinstance(png, str) else png)  # matplotlib's are encoded
        self.parts.append(f"![{self._heading.replace('_', ' ')}]({self.name}/{name})")

    def write(self, folder: Path) -> None:
        """Write the page and its pictures, in place of those of before."""
        shutil.rmtree(folder / self.name, ignore_errors=True)
        (folder / self.name).mkdir(parents=True)
        for name, content in self.pictures.items():
            (folder / self.name / name).write_bytes(content)
        (folder / f"{self.name}.md").write_text("\n\n".join(part for part in self.parts if part) + "\n")


def given() -> str:
    """Return the variables that are set for the notebooks, as the end of a sentence."""
    names = [name for name in sorted(os.environ) if name.startswith("DEEPLAB_")]
    return f", with {', '.join(f'`{name}={os.environ[name]}`' for name in names)}" if names else ""


def relinked(text: str) -> str:
    """Return the text of a notebook with links that hold in docs/executed/."""

    def moved(link: re.Match[str]) -> str:
        path = normpath(f"notebooks/{link[1]}")
        if path.endswith(".ipynb"):
            path = f"docs/executed/{Path(path).stem}.md"
        return relpath(path, "docs/executed")

    return LINK.sub(moved, text)


def printed(text: str) -> str:
    """Return printed text as a terminal would show it in the end: without colours and overwritten lines."""
    lines = (line.rpartition("\r")[2].rstrip() for line in ESCAPE.sub("", text).split("\n"))
    return "\n".join(lines).strip("\n")


def webp(png: bytes) -> bytes:
    """Return a picture in a small format."""
    image = Image.open(BytesIO(png)).convert("RGB")
    if image.width > WIDEST:
        image = image.resize((WIDEST, round(image.height * WIDEST / image.width)), Image.Resampling.LANCZOS)
    file = BytesIO()
    image.save(file, "WEBP", quality=80, method=6)
    return file.getvalue()


def execute(notebook: Path) -> Page:
    """Execute a notebook in its folder, as Jupyter does, and return its page."""
    os.chdir(notebook.parent)
    page = Page(notebook.stem)
    with shell() as own:
        for cell, captured in cells(own, notebook.stem):
            if captured is None:
                page.add_text(cell.source)
            else:
                page.add_code(cell.source, captured)
    return page


if __name__ == "__main__":
    for path in NOTEBOOKS:
        if path.stem in (sys.argv[1:] or [path.stem]):
            made = execute(path)
            made.write(PAGES)
            print(f"{made.name}: {len(made.pictures)} pictures, {sum(map(len, made.pictures.values())) / 1000:.0f} kB")
