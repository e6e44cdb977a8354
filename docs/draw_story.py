"""Draw the pictures of story.md: run the notebook that computes them, and write its pictures to docs/story/."""

import base64
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "04_atrous_convolution.ipynb"
PICTURES = {
    "Holes, in one dimension": ["holes"],
    "The same in a whole network": ["features"],
    "The field grows with the rate, the weights do not": ["fields"],
    "A rate can be too large": ["effective_weights"],
    "Gridding": ["gridding"],
    "Multi-grid": ["multi_grid"],
    "Why the output stride matters": ["grids", "costs"],
}
"""The names of the pictures under each heading of the notebook."""


def pictures(notebook: nbformat.NotebookNode) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the PNG of each picture of an executed notebook."""
    names: list[str] = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            if cell.source.startswith("## "):
                names = list(PICTURES.get(cell.source.splitlines()[0].removeprefix("## "), []))
            continue
        for output in cell.outputs:
            if names and "image/png" in output.get("data", {}):
                yield names.pop(0), base64.b64decode(output["data"]["image/png"])


if __name__ == "__main__":
    executed = NotebookClient(nbformat.read(NOTEBOOK, as_version=4), timeout=1200).execute()
    folder = ROOT / "docs" / "story"
    folder.mkdir(exist_ok=True)
    for name, png in pictures(executed):
        (folder / f"{name}.png").write_bytes(png)
