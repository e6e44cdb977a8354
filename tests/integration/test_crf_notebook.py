"""The notebook on the dense CRF runs from a fresh kernel, and is stored without outputs."""

from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from tests.integration.conftest import ROOT

NOTEBOOK = ROOT / "notebooks" / "03_dense_crf.ipynb"


def save_scene(path: Path, seed: int) -> None:
    """A dark and a bright half with a void line between them, and noisy logits, as `SaveLogits` keeps them."""
    rng = np.random.default_rng(seed)
    target = np.zeros((30, 40), np.uint8)
    target[:, 20:] = 1
    image = np.where(target[..., None] == 1, 200, 50).repeat(3, -1).astype(np.uint8)
    score = target - 0.5 + rng.normal(0, 1, target.shape)
    target[:, 19:21] = 255
    np.savez(path, image=image, logits=np.stack([-score, score]).astype(np.float16), target=target)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the Jupyter packages among themselves
def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "logits").mkdir()
    for seed in range(2):
        save_scene(tmp_path / "logits" / f"{seed}.npz", seed)
    monkeypatch.setenv("DEEPLAB_LOGITS", str(tmp_path / "logits"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=str(tmp_path))
    pictures = [output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in str(output)]
    assert len(pictures) == 2  # before and after, the curve; the sliders draw into their own widget
    assert (tmp_path / "trimap.png").is_file()


def test_it_is_stored_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) == 4
    assert not any(cell.outputs or cell.execution_count for cell in cells)
