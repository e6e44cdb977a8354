from pathlib import Path

import pytest

from deeplab_lightning.ablation import plan, protocol
from deeplab_lightning.ablation.plan import Training, plan_table
from deeplab_lightning.ablation.table import TableError, read_table
from tests.ablation.defaults import changed_default
from tests.ablation.tables import TABLE, write_tree

FAULTS = {
    "data.init_args.batch_size: -4": ["data.init_args.batch_size", "-4"],
    "data.init_args.batch_size: null": ["data.init_args.batch_size", "null"],
    "data.init_args.batch_size: 10000000000": ["data.init_args.batch_size", "1e+09", "10000000000"],
    "data.init_args.crop_size: [0, 513]": ["data.init_args.crop_size[0]", "0"],
    "data.init_args.crop_size: null": ["data.init_args.crop_size", "null"],
    "model.init_args.lr: .inf": ["model.init_args.lr", "inf"],
    "model.init_args.lr: fast": ["model.init_args.lr", "'fast'"],  # the others like it: tests/settings/test_resolve.py
    "model.init_args: 5": ["model.init_args must be a mapping", "5"],
    "model.init_args.scales: [0.5, -1]": ["model.init_args.scales", "[0.5, -1]"],
    "model.init_args.scales: []": ["model.init_args.scales", "[]"],
    "trainer.max_steps: -1": ["trainer.max_steps", "-1"],
    "trainer.accumulate_grad_batches: 0": ["trainer.accumulate_grad_batches", "0"],
}


def training(folder: Path, settings: str = "", text: str = TABLE) -> Training:
    row = f"  - {{name: more, train: {{{settings}}}, paper: 1}}\n"
    (found,) = plan_table(read_table(write_tree(folder, folder, text + row)), "paper", names=["more"]).trainings
    return found


@pytest.mark.parametrize("settings", FAULTS)
def test_invalid_values_are_refused(settings: str, tmp_path: Path) -> None:
    with pytest.raises(TableError) as error:
        training(tmp_path, settings)
    assert str(error.value).startswith(f"{tmp_path}/ablations/tiny.yaml, row 'more': ")
    assert all(part in str(error.value) for part in FAULTS[settings]), error.value
    assert len(str(error.value).splitlines()) == 1


def test_a_number_in_quotes_is_a_number(tmp_path: Path) -> None:
    assert training(tmp_path, 'data.init_args.batch_size: "16"').cost == "6 steps of 16 crops of 32x32"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("a: 2026-13-01", "month must be in"),
        ("a: 2026-11-21", "is a date; put it in quotes"),
        ("a: !!binary aGk=", "is a bytes; put it in quotes"),
        ("a: 1" + "0" * 30, "is too large"),
        ("2026-11-21: a", r"key datetime\.date\(2026, 11, 21\)"),
        ("a: " + "[" * 600, "cannot be read as YAML"),
        ("a: &a [" + "1," * 99 + "]\nb: &b [" + "*a," * 99 + "]\nc: [" + "*b," * 99 + "]", "more than 100000 values"),
        ("a: &a [*a]", "more than 100000 values"),
    ],
)
def test_files_that_are_not_plain_yaml_are_refused(content: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "table.yaml").write_text(content)
    with pytest.raises(TableError, match=f"{tmp_path}/table.yaml: cannot be read as YAML .*{fault}|{fault}"):
        read_table(tmp_path / "table.yaml")


@pytest.mark.parametrize(
    "settings",
    [
        "model.init_args.trimap_width: 3",  # its default
        "data.init_args.scale_range: [0.5, 2]",
        "data.init_args.num_workers: 7",
        "trainer.devices: 4",
        "trainer.callbacks: [LogPredictions]",
    ],
)
def test_settings_without_effect_do_not_change_the_name(settings: str, tmp_path: Path) -> None:
    assert training(tmp_path, settings).name == training(tmp_path).name
    assert training(tmp_path, settings).asked != training(tmp_path).asked


@pytest.mark.parametrize(
    "settings",
    [
        "model.init_args.trimap_width: 4",
        "trainer.sync_batchnorm: false",
        "data.init_args.train_split: val",
        "trainer.callbacks: [BootstrapHardImages]",
    ],
)
def test_settings_with_an_effect_change_the_name(settings: str, tmp_path: Path) -> None:
    assert training(tmp_path, settings).name != training(tmp_path).name


def test_a_default_of_the_code_and_the_protocol_are_in_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {training(tmp_path).name}
    with changed_default(trimap_width=4):
        names.add(training(tmp_path).name)
    monkeypatch.setattr(plan, "PROTOCOL", protocol.PROTOCOL + 1)
    names.add(training(tmp_path).name)
    assert len(names) == 3
