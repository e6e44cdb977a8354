import json
from pathlib import Path

import pytest

from deeplab_lightning.__main__ import main
from deeplab_lightning.commands.describe import FAMILY
from tests.integration.conftest import ROOT

MODEL = ROOT / "experiments" / "model"
KEYS = {
    "name",
    "parameters",
    "multiply_adds",
    "multiply_adds_published_convention",
    "output_stride",
    "field_of_view",
    "receptive_field",
    "feature_size",
}


def described(capsys: pytest.CaptureFixture[str], *options: object) -> str:
    assert main(["describe", *map(str, options)]) == 0
    return capsys.readouterr().out


def test_one_network_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    row = json.loads(described(capsys, "-c", MODEL / "deeplab_v1_largefov.yaml", "--crop", 321, "--json"))
    assert set(row) >= KEYS
    assert row["parameters"] == 20_505_429 == sum(row["parameters_by_part"].values())
    assert (row["field_of_view"], row["output_stride"], row["feature_size"]) == (224, 8, [41, 41])


def test_the_resnet_behind_the_papers_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    """58.16 M parameters (MobileNetV2, Table 7); 81.02 billion multiply-adds (v3+, Table 3), counted as 80.83."""
    text = described(capsys, "-c", MODEL / "deeplab_v3_resnet101_beta.yaml")
    assert "58,164,437" in text
    assert "80.83 B as v3 and v3+ count them" in text


def test_options_override_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model.output_stride", 8, "--model.atrous_rates", "[12,24,36]", "--num_classes", 5, "--json"]
    row = json.loads(described(capsys, "-c", MODEL / "deeplab_v3.yaml", *options))
    assert (row["output_stride"], row["feature_size"], row["receptive_field"]) == (8, [65, 65], None)
    assert row["parameters"] == 58_040_661 - 16 * 257


def test_the_family(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By default it is every file of experiments/model; a few stand for all here."""
    assert Path(ROOT, FAMILY) == MODEL
    names = ["deeplab_v1_largefov", "deeplab_v2_vgg16_aspp_l", "deeplab_v3_mobilenet_v2"]
    for name in names:
        (tmp_path / f"{name}.yaml").symlink_to(MODEL / f"{name}.yaml")
    monkeypatch.setattr("deeplab_lightning.commands.describe.FAMILY", str(tmp_path))
    rows = json.loads(described(capsys, "--all", "--json"))
    assert [row["name"] for row in rows] == names
    assert all(set(row) >= KEYS for row in rows)
    table = described(capsys, "--all")
    assert all(text in table for text in ("deeplab_v1_largefov", "20,505,429", "deeplab_v3_mobilenet_v2", "2,113,557"))


def test_tables_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    text = described(capsys, "-c", MODEL / "deeplab_v1_largefov.yaml", "--layers")
    for part in ("20,505,429", "backbone 14,714,688", "224 px", "435 px", "head.0"):
        assert part in text


def test_failures(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def message(status: int, *options: object) -> str:
        assert main(["describe", *map(str, options)]) == status
        return capsys.readouterr().err

    assert "nothing.yaml: no such file" in message(2, "-c", tmp_path / "nothing.yaml")
    assert "output_stride must be" in message(1, "-c", MODEL / "deeplab_v3.yaml", "--model.output_stride", 9)
    assert "no model.class_path" in message(2, "-c", ROOT / "experiments" / "base.yaml")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments" / "model").mkdir(parents=True)
    assert f"{tmp_path / 'experiments' / 'model'}: no YAML files" in message(1, "--all")
    assert main(["describe"]) == 2
