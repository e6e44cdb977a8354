"""Every notebook runs in an empty namespace on small data, computes right values, and is stored without outputs.

The notebooks share one kernel because its imports take longer than most notebooks.
"""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from tests.ablation.tables import TABLE, write_runs, write_tree
from tests.integration.conftest import ROOT, Run
from tests.patience import PATIENCE

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # Jupyter's packages use each other's deprecated names


Execute = Callable[[str, Path, str], tuple[int, Any]]
EMPTY = """
%reset -f
%matplotlib inline
import os
os.chdir({folder!r})
for name in [name for name in os.environ if name.startswith("DEEPLAB_")]:
    del os.environ[name]
os.environ.update({settings!r})
del name, os
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[KernelManager]:
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=os.environ | {"PYTHONPATH": str(ROOT), "PYDEVD_DISABLE_FILE_VALIDATION": "1"})
    yield manager
    manager.shutdown_kernel(now=True)


def read(name: str) -> NotebookNode:
    notebook: NotebookNode = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4)  # type: ignore[no-untyped-call]
    return notebook


@pytest.fixture
def execute(kernel: KernelManager) -> Execute:
    """A function that runs a notebook in a folder; it returns the number of pictures and the value of an expression."""

    def run(name: str, folder: Path, asked: str) -> tuple[int, Any]:
        notebook = read(name)
        settings = {name: value for name, value in os.environ.items() if name.startswith("DEEPLAB_")}
        empty = EMPTY.format(folder=str(folder), settings=settings)
        program = f"import json; print(json.dumps({asked}))"
        cells = [new_code_cell(empty), *notebook.cells, new_code_cell(program)]  # type: ignore[no-untyped-call]
        notebook.cells = cells
        waits: dict[str, Any] = dict.fromkeys(("timeout", "startup_timeout"), PATIENCE)
        # iopub_timeout: with sliders, the client can miss that a cell's output is complete (nbclient issue 312).
        client = NotebookClient(notebook, km=kernel, iopub_timeout=60, **waits)
        client.comm_open_handlers["jupyter.widget"] = lambda _: (
            None
        )  # the default handler would wait for its own socket
        try:
            client.execute()
        finally:
            assert client.kc is not None
            client.kc.stop_channels()  # the client leaves them open if the kernel is not its own
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        pictures = [output for output in outputs if "image/png" in output.get("data", {})]
        return len(pictures), json.loads(outputs[-1].text)

    return run


def test_quickstart(execute: Execute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RUN": "run", "IMAGES": "12", "STEPS": "4", "SIDE": "48"}.items():
        monkeypatch.setenv(f"DEEPLAB_{name}", value)
    asked = "[run.curves['train/loss'], sorted({score.identity['weights'] for score in ious}), prediction.tolist()]"
    pictures, (losses, weights, prediction) = execute("01_quickstart", tmp_path, asked)
    assert pictures == 8  # data, loss, scores, classes, two panels, prediction, its probability
    assert [step for step, _ in losses] == [0, 1, 2, 3]
    assert weights == ["of step 4"]  # neither the weights of an earlier validation nor random ones
    assert np.shape(prediction) == (48, 48)
    assert (tmp_path / "run" / "last.ckpt").is_file()
    identities = [
        json.loads(path.read_text())[0]["identity"] for path in (tmp_path / "run").glob("logs/v*/evaluation.json")
    ]
    assert sorted((each["scales"], each["flip"]) for each in identities) == [([0.75, 1.0, 1.25], True), ([1.0], False)]


def test_ablations(execute: Execute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tree(tmp_path, tmp_path, f"{TABLE}  - {{name: other, train: {{model.init_args.lr: 1}}, paper: 23}}\n")
    write_runs(path, tmp_path / "runs" / "paper", num_seeds=3, num_bands=4)
    for name, value in {"TABLE": path, "RUNS": tmp_path / "runs", "SCALE": "paper"}.items():
        monkeypatch.setenv(f"DEEPLAB_{name}", str(value))
    asked = "[scores, {row: [d.estimate, d.low, d.is_significant] for row, d in differences.items()}, dict(resolved)]"
    pictures, (scores, differences, resolved) = execute("02_ablations", tmp_path, asked)
    assert pictures == 13  # classes, two curves, trimaps, six panels, seeds, differences, what seeds resolve
    lowest = {"plain": 20, "flip": 30, "other": 20}
    assert scores == {row: pytest.approx([low, low + 1, low + 2]) for row, low in lowest.items()}
    half = 2.7764 * (2 / 3) ** 0.5  # t of 4 degrees of freedom, spread 1
    assert differences["flip"] == [pytest.approx(10), pytest.approx(10 - half, abs=1e-3), True]
    assert differences["other"] == [pytest.approx(0, abs=1e-9), pytest.approx(-half, abs=1e-3), False]
    assert resolved["3"] == pytest.approx(half, abs=1e-3)


def test_dense_crf(execute: Execute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "logits").mkdir()
    for seed in range(2):
        save_scene(tmp_path / "logits" / f"{seed}.npz", seed)
    monkeypatch.setenv("DEEPLAB_LOGITS", str(tmp_path / "logits"))
    pictures, curves = execute("03_dense_crf", tmp_path, "curves")
    assert pictures == 3  # before and after, the curve, what the sliders draw
    assert all(after > before for before, after in zip(curves["before"], curves["after"], strict=True))
    assert (tmp_path / "trimap.png").is_file()


def save_scene(path: Path, seed: int) -> None:
    """A dark and a bright half with a void line between them, and noisy logits, as `SaveLogits` keeps them."""
    rng = np.random.default_rng(seed)
    target = np.zeros((30, 40), np.uint8)
    target[:, 20:] = 1
    image = np.where(target[..., None] == 1, 200, 50).repeat(3, -1).astype(np.uint8)
    score = target - 0.5 + rng.normal(0, 1, target.shape)
    target[:, 19:21] = 255
    np.savez(path, image=image, logits=np.stack([-score, score]).astype(np.float16), target=target)


def test_atrous_convolution(execute: Execute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPLAB_IMAGES", "4")
    numbers = {
        "ways": "[float((atrous - each).abs().max()) for each in (with_zeros, interleaved)]",
        "strides": "[float((features[8][..., ::s, ::s] - features[8 * s]).abs().max()) for s in (2, 4)]",
        "signal": "float(atrous.abs().max())",
        "fields": "[[k, r, field] for (k, r), field in fields.items()]",
        "coverage": "[[*map(int, rates), share] for rates, share in coverage.items()]",
        "block4": "list(block4.values())",
        "mious": "list(mious.values())",
        "costs": "costs",
    }
    asked = "{" + ", ".join(f"'{name}': {code}" for name, code in numbers.items()) + "}"
    pictures, found = execute("04_atrous_convolution", tmp_path, asked)
    assert pictures == 9
    assert max(found["ways"]) < 1e-12 < found["signal"]
    assert max(found["strides"]) < 1e-9
    assert all(field == 243 + 8 * (k - 1) * r for k, r, field in found["fields"])
    assert found["coverage"] == [
        [2, 2, 2, pytest.approx((7 / 13) ** 2)],
        [1, 2, 3, 1.0],
        [4, 4, 4, pytest.approx((7 / 25) ** 2)],
        [1, 3, 8, 1.0],
    ]
    assert found["block4"] == [[2, 2, 2], [4, 4, 4], [2, 4, 6], [2, 4, 8]]
    assert found["mious"] == sorted(set(found["mious"]))
    assert found["mious"][-1] < 1
    assert found["costs"]["8"] > 3 * found["costs"]["16"]


def test_hard_images(
    execute: Execute, tmp_path: Path, experiment: list[str], deeplab: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two commands that the notebook names, on less data."""
    callback = ["--trainer.callbacks+", "BootstrapHardImages", "--trainer.callbacks.classes", "[bicycle]"]
    assert deeplab("fit", *experiment, *callback) == 0
    run = tmp_path / "run"
    callback = ["--trainer.callbacks+", "SaveLogits", "--trainer.callbacks.folder", str(run / "logits")]
    options = ["-c", run / "logs" / "fit_0" / "config.yaml", "--ckpt_path", run / "best.ckpt", *callback]
    assert deeplab("validate", *options) == 0
    monkeypatch.setenv("DEEPLAB_RUN", str(run))
    monkeypatch.setenv("DEEPLAB_ROOT", str(data_root(experiment)))
    numbers = {
        "hard": "[hard, holds[:, names.index('bicycle')].nonzero()[0].tolist()]",
        "shares": "[float(each[names.index('bicycle')]) for each in shares.values()]",
        "miou": "mean_iou(total)",
        "scores": "[len(scores), float(scores.min()), float(scores.max())]",
        "wrong": "[int(wrong.sum()), int(total.sum())]",
    }
    asked = "{" + ", ".join(f"'{name}': {code}" for name, code in numbers.items()) + "}"
    pictures, found = execute("05_hard_images", tmp_path, asked)
    assert pictures == 8  # shares, samples, histogram, three worst, classes, confusion
    assert found["hard"][0] == found["hard"][1] != []
    count = len(found["hard"][0])
    assert found["shares"] == pytest.approx([count / 12, 2 * count / (12 + count)])
    records = {r["metric"]: r["value"] for r in json.loads((run / "logs/validate_0/evaluation.json").read_text())}
    assert found["miou"] == pytest.approx(records["val/miou"], abs=2e-3)  # logits were kept in float16
    assert 1 - found["wrong"][0] / found["wrong"][1] == pytest.approx(records["val/pixel_accuracy"], abs=2e-3)
    assert found["scores"][0] == 5
    assert 0 <= found["scores"][1] < found["scores"][2] <= 1


def data_root(experiment: list[str]) -> str:
    """The root in the file of the experiment's data."""
    text = Path(experiment[experiment.index("-c", 2) + 1]).read_text()
    return text.partition("root: ")[2].partition("}")[0]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_stored_without_outputs_in_short_cells(path: Path) -> None:
    cells = [cell for cell in read(path.stem).cells if cell.cell_type == "code"]
    assert len(cells) >= 4
    assert not any(cell.outputs or cell.execution_count for cell in cells)
    assert all(len(cell.source.splitlines()) <= 40 for cell in cells)


def test_all_are_here() -> None:
    names = ["01_quickstart", "02_ablations", "03_dense_crf", "04_atrous_convolution", "05_hard_images"]
    assert [path.stem for path in NOTEBOOKS] == names
