"""The table of published checkpoints: a row for every published score, measured by the protocol in the catalogue."""

import json
from pathlib import Path

import pytest

from deeplab_lightning.__main__ import main
from deeplab_lightning.ablation.job import jobs_of
from deeplab_lightning.ablation.plan import plan_table
from deeplab_lightning.ablation.released import (
    NUM_CLASSES,
    crf_callback,
    model_settings,
    protocol_settings,
    reason_against,
    row_name,
)
from deeplab_lightning.ablation.table import Table, TableError, read_table
from deeplab_lightning.datasets import ade20k_names, cityscapes, coco_names, voc
from deeplab_lightning.published.entries import entries, entry
from tests.integration.conftest import ROOT
from tests.published.releases import SMALLEST

PATH = ROOT / "experiments" / "ablations" / "released_weights.yaml"
EVALUATION_SIZE = "data.init_args.evaluation_size"
SCORES = {row_name(each, score): (each, score) for each in entries().values() for score in each.scores}


@pytest.fixture(scope="module")
def table() -> Table:
    return read_table(PATH)


def test_every_published_score_has_a_row(table: Table) -> None:
    assert {row.name: row.paper for row in table.rows} == {name: score.miou for name, (_, score) in SCORES.items()}


def test_rows_have_the_published_protocol_or_the_reason_against_it(table: Table) -> None:
    for row in table.rows:
        own, score = SCORES[row.name]
        if row.weights is None:
            assert reason_against(own, score) in str(row.remarks), row.name
            assert reason_against(own, score) or score.split == "test"
            continue
        protocol = {EVALUATION_SIZE: "pad_to_513" if score.data == "VOC 2012" else "whole_image"} | row.evaluate
        assert (row.weights, protocol) == (own.name, protocol_settings(own, score)), row.name
        assert row.evaluate_configs == (() if score.crf is None else (f"crf/{score.crf}.yaml",))
        assert row.metric.refined == (score.crf is not None and score.split == "val")
        assert row.metric.split == ("server" if score.split == "test" else "val")


def test_settings_of_a_score() -> None:
    own = entry("tensorflow/xception65_coco_voc_trainaug")
    assert model_settings(own)["class_path"] == "DeepLabV3PlusModule"
    assert protocol_settings(own, own.scores[-1]) == {
        "model.init_args.output_stride": 8,
        "model.init_args.atrous_rates": [12, 24, 36],
        "model.init_args.scales": [0.5, 0.75, 1.0, 1.25, 1.5, 1.75],
        "model.init_args.flip": True,
        EVALUATION_SIZE: "pad_to_513",
    }
    assert crf_callback("deeplab_v2_resnet101")["init_args"]["bilateral_xy"] == 67
    sizes = {"VOC 2012": voc.CLASS_NAMES, "Cityscapes": cityscapes.CLASS_NAMES, "ADE20K": ade20k_names.CLASS_NAMES}
    sizes |= {"COCO 2017 with VOC's classes": voc.CLASS_NAMES, "COCO-Stuff 164k": coco_names.THINGS_AND_STUFF}
    assert {name: len(names) for name, names in sizes.items()} == NUM_CLASSES


def test_sizes_of_other_projects(table: Table) -> None:
    """The resolved settings, as rows of other data inherit nothing from VOC's file."""
    sizes = {
        "torchvision/deeplabv3_resnet50": ("short_side_520", None),
        "vainf/deeplabv3_resnet50_voc": ("centre_crop_513", None),
        "mmsegmentation/deeplabv3_r50-d8_512x512_20k_voc12aug": ("whole_image", [2048, 512]),
        "mmsegmentation/deeplabv3_r50-d8_512x512_80k_ade20k": ("whole_image", [2048, 512]),
    }
    names = [next(row.name for row in table.rows if row.weights == name) for name in sizes]
    for planned in plan_table(table, "paper", names=names).rows:
        assert planned.row.weights is not None
        assert planned.evaluation is not None
        resolved = planned.evaluation.resolved
        found = resolved[EVALUATION_SIZE], resolved.get("model.init_args.fit_to")
        assert found == sizes[planned.row.weights], planned.row.name


def test_weights_take_the_place_of_a_training(table: Table) -> None:
    names = [f"{SMALLEST} stride16", "tensorflow/xception65_coco_voc_trainval stride8_ms_flip"]
    plan = plan_table(table, "paper", names=names)
    root = Path("runs")
    first, second, *others = [job.options(root) for job in jobs_of(plan)]
    assert first == ["weights", "get", SMALLEST]
    assert second[0] == "validate"
    assert second[second.index("--ckpt_path") + 1] == SMALLEST
    assert [options[0] for options in others] == ["weights", "predict"]
    assert len({training.name for training in plan.trainings}) == 2
    assert plan.trainings[0].gigapixels == 0
    assert plan_table(table, "smoke", names=names).trainings == [], "the data of other scales have other classes"


def test_weights_are_not_trained(tmp_path: Path) -> None:
    (tmp_path / "ablations").mkdir()
    path = tmp_path / "ablations" / "wrong.yaml"
    row = f"{{name: a, weights: {SMALLEST}, train: {{model.init_args.lr: 1}}, paper: 1}}"
    path.write_text(f"{{table: t, metric: val/miou, configs: [], rows: [{row}]}}")
    with pytest.raises(TableError, match="only scored"):
        read_table(path)


@pytest.mark.slow
def test_the_table_runs_and_is_reported(
    weights_cache: Path,
    voc_root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DEEPLAB_DATA", str(voc_root.parent))
    (voc_root.parent / "VOCdevkit").symlink_to(voc_root.parent)
    row_asked, runs = f"{SMALLEST} stride16", ["--runs", str(tmp_path / "runs")]
    assert main(["ablate", str(PATH), "--rows", row_asked, *runs]) == 0
    capsys.readouterr()
    assert main(["report", str(PATH), "--json", "--output", str(tmp_path / "report.html"), *runs]) == 0
    (report,) = json.loads(capsys.readouterr().out)
    (row,) = [row for row in report["rows"] if row["name"] == row_asked]
    assert row["paper"] == 70.19
    assert row["ours"] is not None
