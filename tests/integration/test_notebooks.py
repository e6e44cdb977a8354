"""Every notebook runs in an empty namespace on small data, computes right values, and is stored without outputs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeplab_lightning.datasets.shapes import PALETTE, render
from tests.ablation.tables import TABLE, write_runs, write_tree
from tests.callbacks.evaluated import identity
from tests.integration.conftest import Run
from tests.notebooks import NOTEBOOKS, read, run
from tests.published.releases import SMALLEST
from tests.segmentation.models import describe_small, write_checkpoint

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # Jupyter's packages use each other's deprecated names

Execute = Callable[[str, str], tuple[int, Any]]


@pytest.fixture
def execute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Execute:
    """A function that runs a notebook in a folder; it returns the number of pictures and the value of an expression."""

    def execute(name: str, asked: str) -> tuple[int, Any]:
        monkeypatch.chdir(tmp_path)
        displayed, value = run(name, asked)
        pictures = [output for output in displayed if "image/png" in output.data]
        return len(pictures), json.loads(json.dumps(value))

    return execute


@pytest.mark.slow
def test_quickstart(execute: Execute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RUN": "run", "IMAGES": "12", "STEPS": "4", "SIDE": "48"}.items():
        monkeypatch.setenv(f"DEEPLAB_{name}", value)
    asked = "[run.curves['train/loss'], sorted({score.identity['weights'] for score in ious}), prediction.tolist()]"
    pictures, (losses, weights, prediction) = execute("01_quickstart", asked)
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
    pictures, (scores, differences, resolved) = execute("02_ablations", asked)
    assert pictures == 13  # classes, two curves, trimaps, six panels, seeds, differences, what seeds resolve
    lowest = {"plain": 20, "flip": 30, "other": 20}
    assert scores == {row: pytest.approx([low, low + 1, low + 2]) for row, low in lowest.items()}
    half = 2.7764 * (2 / 3) ** 0.5  # t of 4 degrees of freedom, spread 1
    assert differences["flip"] == [pytest.approx(10), pytest.approx(10 - half, abs=1e-3), True]
    assert differences["other"] == [pytest.approx(0, abs=1e-9), pytest.approx(-half, abs=1e-3), False]
    assert resolved["3"] == pytest.approx(half, abs=1e-3)


def test_ablations_of_one_run(execute: Execute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `make demo` leaves: one training, scored in several ways, and no key of Weights & Biases."""
    logs = tmp_path / "run" / "logs"
    for number, (miou, scales) in enumerate(((0.5, [1.0]), (0.6, [0.75, 1.0]))):
        (logs / f"validate_{number}").mkdir(parents=True)
        own = identity().as_dict() | {"scales": scales}
        scored = [
            {"split": "val", "metric": name, "value": miou, "identity": own} for name in ("val/miou", "val/iou/a")
        ]
        (logs / f"validate_{number}" / "evaluation.json").write_text(json.dumps(scored))
    monkeypatch.setenv("DEEPLAB_RUN", "run")
    monkeypatch.setenv("DEEPLAB_WANDB", "team/mine")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    pictures, (measured, several, resolved) = execute("02_ablations", "[measured, several, dict(resolved)]")
    assert pictures == 2  # classes, what seeds resolve
    assert measured == {"scale 1": [50.0], "scales 0.75, 1": [60.0]}
    assert not several
    assert resolved["3"] == pytest.approx(2.7764 * (2 / 3) ** 0.5, abs=1e-3)


def test_dense_crf(execute: Execute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "logits").mkdir()
    for seed in range(2):
        save_scene(tmp_path / "logits" / f"{seed}.npz", seed)
    monkeypatch.setenv("DEEPLAB_LOGITS", str(tmp_path / "logits"))
    pictures, curves = execute("03_dense_crf", "curves")
    assert pictures == 3  # before and after, the curve, what the sliders draw
    assert len(curves) == 3
    for name in curves.keys() - {"before"}:
        assert all(after > before for before, after in zip(curves["before"], curves[name], strict=True))


def save_scene(path: Path, seed: int) -> None:
    """A dark and a bright half with a void line between them, and noisy logits, as `SaveLogits` keeps them."""
    rng = np.random.default_rng(seed)
    target = np.zeros((30, 40), np.uint8)
    target[:, 20:] = 1
    image = np.where(target[..., None] == 1, 200, 50).repeat(3, -1).astype(np.uint8)
    score = target - 0.5 + rng.normal(0, 1, target.shape)
    target[:, 19:21] = 255
    np.savez(path, image=image, logits=np.stack([-score, score]).astype(np.float16), target=target)


@pytest.mark.slow
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
    pictures, found = execute("04_atrous_convolution", asked)
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


@pytest.mark.slow
def test_hard_images(
    execute: Execute, tmp_path: Path, experiment: list[str], deeplab: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command that the notebook names, on less data."""
    callback = ["--trainer.callbacks+", "BootstrapHardImages", "--trainer.callbacks.classes", "[bicycle]"]
    assert deeplab("fit", *experiment, *callback) == 0
    run = tmp_path / "run"
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
    pictures, found = execute("05_hard_images", asked)
    assert pictures == 8  # shares, samples, histogram, three worst, classes, confusion
    assert found["hard"][0] == found["hard"][1] != []
    count = len(found["hard"][0])
    assert found["shares"] == pytest.approx([count / 12, 2 * count / (12 + count)])
    records = {
        r["metric"]: r["value"] for r in json.loads((run / "logits/logs/validate_0/evaluation.json").read_text())
    }
    assert found["miou"] == pytest.approx(records["val/miou"], abs=2e-3)  # logits were kept in float16
    assert 1 - found["wrong"][0] / found["wrong"][1] == pytest.approx(records["val/pixel_accuracy"], abs=2e-3)
    assert found["scores"][0] == 5
    assert 0 <= found["scores"][1] < found["scores"][2] <= 1


def test_aspp(execute: Execute, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPLAB_MODEL", "random")
    monkeypatch.setenv("DEEPLAB_SIDE", "129")
    asked = "[error, list(whole.shape), inside, shares, changed, sides]"
    pictures, (error, shape, inside, shares, changed, sides) = execute("06_aspp", asked)
    assert pictures == 4  # taps, parts, labels, effective receptive fields
    assert error < 1e-5
    assert shape == [256, 9, 9]
    assert inside == {"1x1": [1, 1], "rate 6": [1, 9], "rate 12": [1, 9], "rate 18": [1, 9], "pooling": [81, 81]}
    assert sum(shares.values()) == pytest.approx(1)
    assert all(0 < share < 1 for share in shares.values())
    assert all(max(each) > 0 for each in changed.values())
    assert sides.keys() == {*inside, "logit"}
    assert all(1 <= half < most <= 129 for half, most in sides.values())
    assert max(sides, key=lambda name: sides[name][0]) == "pooling"


def write_v3plus(path: Path) -> Path:
    """The checkpoint of a small DeepLabv3+ with random weights for Shapes."""
    arguments = {"num_classes": 8, "low_level_channels": 8, "decoder_channels": 8}
    return write_checkpoint(path, describe_small(network="DeepLabV3Plus", palette=PALETTE, arguments=arguments))


def test_v1_to_v3plus(execute: Execute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPLAB_MODEL", str(write_v3plus(tmp_path / "model.ckpt")))
    monkeypatch.setenv("DEEPLAB_SIDE", "97")
    asked = "[{name: own.parameters for name, own in profiles.items()}, views, table, cached]"
    pictures, (parameters, views, table, cached) = execute("07_v1_to_v3plus", asked)
    assert pictures == 3  # fields of view, the CRF, all steps
    assert {name: round(count / 1e6, 1) for name, count in parameters.items()} == {
        "v1": 20.5,  # v1, Table 2
        "v2": 44.0,
        "v3": 58.0,
        "v3+": 41.1,
    }
    assert list(views.values()) == [[224], [224], [128, 224, 320, 416], []]  # v1, Table 2: both 224
    assert set(table) == {"one pass", "with the CRF", "six passes", "without detail"}
    assert len({row["mIoU near borders"] for row in table.values()}) == 4
    assert cached == []


@pytest.mark.slow
def test_v1_to_v3plus_on_a_photograph(
    execute: Execute, tmp_path: Path, weights_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render(np.random.default_rng(0), 72, 96)[0].save(tmp_path / "photograph.png")
    monkeypatch.setenv("DEEPLAB_IMAGE", "photograph.png")
    monkeypatch.setenv("DEEPLAB_MODEL", str(write_v3plus(tmp_path / "model.ckpt")))
    monkeypatch.setenv("DEEPLAB_RELEASED", f"{SMALLEST},torchvision/deeplabv3_resnet101")
    pictures, (table, sizes) = execute("07_v1_to_v3plus", "[table, {n: list(m.shape) for n, m in released.items()}]")
    assert pictures == 4
    assert table["one pass"] == {"changed": 0}
    assert sizes == {SMALLEST.partition("/")[2]: [72, 96]}


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
    first = ["01_quickstart", "02_ablations", "03_dense_crf", "04_atrous_convolution", "05_hard_images"]
    assert [path.stem for path in NOTEBOOKS] == [*first, "06_aspp", "07_v1_to_v3plus"]
