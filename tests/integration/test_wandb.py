"""The runs of a tiny table in Weights & Biases, read back from the offline files."""

import json
import subprocess
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deeplab_lightning.__main__ import main
from deeplab_lightning.ablation import runner
from deeplab_lightning.ablation.outcomes import Outcome, State, read_folder
from deeplab_lightning.ablation.plan import plan_table
from deeplab_lightning.ablation.table import read_table
from deeplab_lightning.datasets.shapes import CLASS_NAMES
from deeplab_lightning.drawing import GAP
from deeplab_lightning.reports.compare import compare
from deeplab_lightning.reports.wandb_runs import read_runs
from deeplab_lightning.run_folder import JobKey
from deeplab_lightning.scores import Score, group_scores, ungroup_scores
from tests.ablation.tables import TABLE, write_tree
from tests.integration.conftest import ROOT
from tests.patience import wait_until
from tests.wandb_file import OfflineRun, read_offline_runs

CRF_PAPERS = {"crf": ("val/miou", 22.0), "crf_refined": ("val/miou_crf", 23.5)}
CRF_ROW = """  - &crf
    name: crf
    train: *brief
    evaluate:
      trainer.callbacks+:
        - {class_path: CRFEvaluation, init_args: {iterations: 1}}
        - {class_path: LogPredictions, init_args: {num_images: 2}}
    paper: 22.0
  - {<<: *crf, name: crf_refined, metric: val/miou_crf, paper: 23.5}
"""


class InThisProcess:
    """A stand-in for a process of `deeplab`, which runs the command at once in this process."""

    def __init__(self, command: list[str], **keywords: Any) -> None:
        import wandb

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.status = main(command[3:])
        wandb.finish()

    def wait(self) -> int:
        return self.status


@dataclass
class Place:
    """A table, the folder of its runs, and its W&B runs, oldest first."""

    table: Path
    root: Path
    runs: list[OfflineRun]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, shapes_root: Path) -> Place:
    """A table with one training and two evaluations, run with W&B offline."""
    root = tmp_path_factory.mktemp("wandb")
    table = TABLE.replace("Two rows", "DeepLabv3 (arXiv:1706.05587), Table 0: two rows") + CRF_ROW
    table = table.replace("train: {}", "train: &brief {trainer.max_steps: 2, trainer.val_check_interval: 2}", 1)
    path = write_tree(root / "experiments", shapes_root, table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("DEEPLAB_TRACEBACK", "1")
        patch.setattr(runner, "subprocess", SimpleNamespace(Popen=InThisProcess, DEVNULL=subprocess.DEVNULL))
        options = [
            "--rows",
            "plain,crf,crf_refined",
            "--runs",
            str(root / "runs"),
            "--wandb",
            "project=mine,log_model=true",
        ]
        assert main(["ablate", str(path), *options]) == 0
    runs: list[OfflineRun] = []

    def all_written() -> bool:  # W&B's own process may still write a file when `finish` returns
        runs[:] = read_offline_runs(root / "runs")
        return all(run.state != "running" for run in runs)

    wait_until(all_written)
    return Place(path, root / "runs" / "paper", runs)


def named(place: Place, name: str) -> OfflineRun:
    (run,) = (run for run in place.runs if run.name == name)
    return run


def test_the_config_and_tags_of_the_runs(place: Place) -> None:
    training, plain, crf = place.runs
    assert [run.name for run in place.runs] == ["plain and 2 more", "plain", "crf and 1 more"]
    assert [run.job_type for run in place.runs] == ["fit", "validate", "validate"]
    for run in place.runs:
        assert (run.project, run.group, run.state) == ("mine", "tiny", "finished")
        assert run.tags == ["tiny", "paper", "arXiv:1706.05587", "seed0"]
        assert run.config["data"]["init_args"]["batch_size"] == 4
        assert run.config["trainer"]["max_steps"] == 2
        assert run.config["model"]["class_path"].endswith("DeepLabV3Module")
        assert run.config["backbone"] == "resnet18"  # a column of its own
        head = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
        if head.returncode == 0:
            assert run.config["git"]["commit"] == head.stdout.strip()
            assert run.config["git"]["dirty"] in (True, False)
        assert set(run.config["environment"]) == {"python", "torch", "lightning", "cuda", "device", "num_devices"}
        (log,) = (place.root / run.config["wandb"]["work"] / "logs").iterdir()
        on_disk = json.loads((log / "run.json").read_text())
        kept = ("git", "environment", *(["batch"] if run is training else []))
        assert on_disk == {key: run.config[key] for key in kept} | {"seconds": run.summary_metrics["seconds"]}
    assert plain.config["wandb"]["work"].startswith(training.config["wandb"]["work"] + "/evaluations/")
    assert crf.summary_metrics["val/miou_crf"] > 0


def test_every_score_carries_its_identity(place: Place) -> None:
    summary = named(place, "crf and 1 more").summary_metrics
    records = [score.as_record() for score in ungroup_scores(summary["evaluations"])]
    assert {record["metric"] for record in records} >= {"val/miou", "val/miou_crf", "val/iou/background"}
    for record in records:
        assert record["value"] == pytest.approx(summary[record["metric"]], abs=1e-6)
        assert bool(record["identity"]["crf"]) == record["metric"].split("/")[1].endswith("_crf")
        assert record["identity"]["num_images"] == 5
    done = json.loads((place.root / named(place, "crf and 1 more").config["wandb"]["work"] / "done.json").read_text())
    by_metric = {record["metric"]: record for record in done["records"]}
    assert {record["metric"]: record for record in records} == by_metric
    assert summary["seconds"] == done["seconds"] > 0
    assert group_scores(map(Score.of_record, done["records"])) == summary["evaluations"]


def test_the_papers_numbers_and_the_differences(place: Place) -> None:
    """Two rows share a run, and each has its own metric."""
    training, plain, crf = place.runs
    assert "rows" not in training.summary_metrics
    for run, papers in ((plain, {"plain": ("val/miou", 20.0)}), (crf, CRF_PAPERS)):
        rows = run.summary_metrics["rows"]
        assert {name: row["paper"] for name, row in rows.items()} == {
            name: paper for name, (_, paper) in papers.items()
        }
        for name, (metric, paper) in papers.items():
            ours = 100 * run.summary_metrics[metric]
            assert rows[name]["ours"] == pytest.approx(ours, abs=1e-4)
            assert rows[name]["difference"] == pytest.approx(ours - paper, abs=1e-4)


def test_the_table_of_the_classes(place: Place) -> None:
    run = named(place, "crf and 1 more")
    content = json.loads(run.media(run.summary_metrics["val/per_class_iou"]).read_text())
    assert content["columns"] == ["class", "iou", "iou_crf"]
    scores = {str(score.name): score.value for score in ungroup_scores(run.summary_metrics["evaluations"])}
    assert [row[0] for row in content["data"]] == list(CLASS_NAMES)
    for name, iou, refined in content["data"]:
        assert (iou, refined) == (scores.get(f"val/iou/{name}"), scores.get(f"val/iou_crf/{name}"))
    plain = named(place, "plain")
    content = json.loads(plain.media(plain.summary_metrics["val/per_class_iou"]).read_text())
    assert content["columns"] == ["class", "iou"]


def test_panels_are_logged_and_images_under_masks(place: Place) -> None:
    run = named(place, "crf and 1 more")
    for name, tiles in (("val/panels", 4), ("val/masks", 1)):  # the tiles of a panel are enlarged four times
        images = run.summary_metrics[name]
        assert (images["_type"], images["count"]) == ("images/separated", 2)
        for file in images["filenames"]:
            with Image.open(run.folder / "files" / file) as image:
                assert image.width == (4 * (4 * 64 + GAP) - GAP if tiles == 4 else 64)
    for masks in run.summary_metrics["val/masks"]["all_masks"]:
        assert set(masks) == {"target", "prediction", "after_CRF"}
        for mask in masks.values():
            with Image.open(run.media(mask)) as image:
                assert set(np.unique(np.asarray(image))) <= {*range(len(CLASS_NAMES)), 255}


def test_the_scored_checkpoint_is_uploaded_if_asked_for(place: Place) -> None:
    models = [artifact for run in place.runs for artifact in run.artifacts if artifact.type == "model"]
    assert [set(artifact.aliases) for artifact in models] == [{"latest", "last"}]
    (entry,) = models[0].manifest.contents
    assert (entry.path, entry.size) == ("last.ckpt", next(place.root.glob("*/last.ckpt")).stat().st_size)


def test_the_report_is_the_same_from_folders_and_from_wandb(place: Place) -> None:
    plan = plan_table(read_table(place.table), "paper")
    local = compare(plan, read_folder(place.root))
    online = compare(plan, read_runs(place.runs))
    assert online == local
    assert [len(line.scores) for line in local.lines] == [0, 1, 0, 1, 1]
    assert [line.status for line in local.lines] == ["", "", "not yet run", "", ""]


def test_the_command_reads_a_project(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import wandb

    asked: list[str] = []

    class Api:
        def runs(self, path: str, **keywords: Any) -> list[OfflineRun]:
            asked.append(path)
            return list(place.runs)

    monkeypatch.setattr(wandb, "login", lambda **keywords: True)
    monkeypatch.setattr(wandb, "Api", Api)
    options = ["report", str(place.table), "--json"]
    assert main([*options, "--wandb", "team/mine"]) == 0
    online = capsys.readouterr().out
    assert main([*options, "--runs", str(place.root.parent)]) == 0
    assert capsys.readouterr().out == online
    assert asked == ["team/mine"]


def test_the_newest_finished_run_of_a_job_counts(place: Place) -> None:
    training, plain, _ = place.runs
    key = JobKey.parse(plain.config["wandb"]["work"])
    stopped = OfflineRun(plain.folder, "crashed", config=plain.config)
    other = OfflineRun(plain.folder, config={"wandb": {"work": None}})
    newer = OfflineRun(
        plain.folder, "finished", config=plain.config, summary_metrics={"seconds": 3.0, "evaluations": []}
    )
    assert read_runs([stopped, other])[key].state is State.UNFINISHED
    assert read_runs([stopped, plain, stopped])[key].seconds == plain.summary_metrics["seconds"]
    assert read_runs([plain, newer])[key] == Outcome(seconds=3.0, asked=plain.config["wandb"]["asked"])
    (failed,) = read_runs([OfflineRun(plain.folder, "failed", config=training.config)]).values()
    assert str(failed) == "failed"
