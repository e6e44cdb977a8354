from pathlib import Path

import pytest

from deeplab_lightning.ablation.plan import Plan, Training, competition, plan_table
from deeplab_lightning.ablation.runner import config_of
from deeplab_lightning.ablation.table import Settings, read_table
from deeplab_lightning.settings.compose import compose, merge
from tests.ablation.tables import TABLE, write_tree

CHAIN = """  - {name: first, stage: a start, train: {model.init_args.lr: 0.1}}
  - {name: second, start_from: first, train: {trainer.max_steps: 9}, paper: 3}
"""


def plan(folder: Path, more: str = "", scale: str = "paper", **kwargs: object) -> Plan:
    return plan_table(read_table(write_tree(folder, folder, TABLE + more)), scale, **kwargs)  # type: ignore[arg-type]


def test_rows_that_train_alike_share_a_training(tmp_path: Path) -> None:
    (training,) = plan(tmp_path).trainings
    assert training.rows == ["plain", "flip"]
    assert [evaluation.settings for evaluation in training.evaluations.values()] == [
        {},
        {"model": {"init_args": {"flip": True}}},
    ]
    assert training.cost == "6 steps of 4 crops of 32x32"
    assert training.gigapixels == 6 * 4 * 32 * 32 / 1e9
    assert [evaluation.passes for evaluation in training.evaluations.values()] == [1, 2]  # with flip
    more = "{trainer.accumulate_grad_batches: 2, model.init_args.scales: [0.5, 1.5]}"
    (other,) = plan(tmp_path, f"  - {{name: more, train: {more}, paper: 1}}\n", names=["more"]).trainings
    assert other.cost == "6 steps of 2 x 4 crops of 32x32"
    assert [evaluation.passes for evaluation in other.evaluations.values()] == [2.5]


def test_a_row_with_settings_of_its_own_has_its_own_training(tmp_path: Path) -> None:
    row = "  - {name: slow, train: {model.init_args.lr: 0.001}, paper: 1}\n"
    shared, own = plan(tmp_path, row).trainings
    assert own.config["model"]["init_args"]["lr"] == 0.001
    assert own.name != shared.name


def test_the_name_follows_from_the_settings_and_the_seed(tmp_path: Path) -> None:
    first = [training.name for training in plan(tmp_path, seeds=(0, 1)).trainings]
    assert first == [training.name for training in plan(tmp_path, seeds=(0, 1)).trainings]
    assert [name.partition("_")[2] for name in first] == ["seed0", "seed1"]
    path = write_tree(tmp_path, tmp_path)
    (path.parent.parent / "model" / "tiny.yaml").write_text(
        (path.parent.parent / "model" / "tiny.yaml").read_text().replace("0.01", "0.02")
    )
    assert plan_table(read_table(path), "paper").trainings[0].name not in first


def test_a_training_starts_from_another(tmp_path: Path) -> None:
    made = plan(tmp_path, CHAIN, names=["second"])
    first, second = made.trainings
    assert (first.source, second.source) == (None, first)
    assert first.evaluations == {}
    config = config_of(second, Path("runs"))
    assert config["model"]["init_args"]["start_from"] == f"runs/{first.name}/last.ckpt"
    assert config["model"]["init_args"]["pretrained"] is False
    assert config["trainer"]["default_root_dir"] == f"runs/{second.name}"
    other = plan(tmp_path, CHAIN.replace("0.1", "0.2"), names=["second"]).trainings[1]
    assert other.name != second.name  # what it starts from is part of what it is


def test_a_scale_overrides_settings_and_names_them(tmp_path: Path) -> None:
    made = plan(tmp_path, CHAIN, scale="smoke")
    assert {training.config["trainer"]["max_steps"] for training in made.trainings} == {2}
    assert [training.replaced for training in made.trainings] == [{}, {}, {"second": ["trainer.max_steps"]}]


SERVER = """  - name: test
    metric: server/miou
    train: {}
    evaluate: {configs: [crf/crf.yaml], model.init_args.flip: true}
    paper: 1
"""


def test_rows_of_the_server_are_predicted(tmp_path: Path) -> None:
    (row,) = plan(tmp_path, SERVER, names=["test"]).rows
    assert row.evaluation is not None
    assert row.evaluation.command == "predict"
    assert row.evaluation.settings == {
        "model": {"init_args": {"flip": True}},
        "data": {"init_args": {"test_split": "test"}},
        "trainer": {
            "callbacks+": [
                {"class_path": "CRFEvaluation"},
                {"class_path": "WriteSubmission", "init_args": {"competition": "comp6"}},
            ]
        },
    }


@pytest.mark.parametrize(
    ("config", "source", "expected"),
    [
        ({}, None, "comp5"),
        ({"data.init_args.sbd_root": "SBD"}, None, "comp6"),
        ({"data.class_path": "COCODataModule"}, None, "comp6"),
        ({"model.init_args.pretrained": True}, None, "comp6"),
        ({}, {}, "comp5"),
        ({}, {"model.init_args.pretrained": True}, "comp6"),
    ],
)
def test_the_competition_depends_on_all_training_data(config: Settings, source: Settings | None, expected: str) -> None:
    def training(settings: Settings, source: Training | None) -> Training:
        voc = compose(
            [], {"data.class_path": "VOCDataModule", "data.init_args": {}, "model.init_args.pretrained": False}
        )
        merge(voc, compose([], settings))
        return Training("name", voc, 0, source, group="group", tags=[])

    assert competition(training(config, None if source is None else training(source, None))) == expected


def test_a_row_may_append_to_a_missing_list(tmp_path: Path) -> None:
    row = "  - {name: more, train: {trainer.callbacks+: [{class_path: LogPredictions}]}, paper: 1}\n"
    (training,) = plan(tmp_path, row, names=["more"]).trainings
    assert training.config["trainer"]["callbacks+"] == [{"class_path": "LogPredictions"}]
    assert training.replaced == {}
