from pathlib import Path

import pytest

from deeplab_lightning.ablation.table import TableError, read_table, table_files
from deeplab_lightning.scores import ScoreName
from tests.ablation.tables import TABLE, write_tree


def fault(folder: Path, row: str) -> str:
    """The error message for a table with one more row."""
    with pytest.raises(TableError) as error:
        read_table(write_tree(folder, folder, f"{TABLE}  - {row}\n"))
    assert "tiny.yaml" in str(error.value)
    return str(error.value)


def test_rows_and_references(tmp_path: Path) -> None:
    table = read_table(write_tree(tmp_path, tmp_path))
    others, plain, flip = table.rows
    assert (others.train, plain.train) == (None, {})
    assert flip.evaluate == {"model.init_args.flip": True}
    assert flip.all_remarks == "uncertain: the side"
    assert table.root == tmp_path


def test_what_is_uncertain_of_all_rows_that_train(tmp_path: Path) -> None:
    table = read_table(write_tree(tmp_path, tmp_path, TABLE.replace("rows:", "uncertain: the stem\nrows:")))
    assert [row.remarks.uncertain for row in table.rows] == [None, "the stem", "the side; the stem"]


def test_a_row_with_evaluate_alone_is_trained_with_the_files_settings(tmp_path: Path) -> None:
    row = "{name: more, evaluate: {configs: [crf/crf.yaml]}, paper: 1}"
    more = read_table(write_tree(tmp_path, tmp_path, f"{TABLE}  - {row}\n")).row("more")
    assert (more.train, more.evaluate, more.evaluate_configs) == ({}, {}, ("crf/crf.yaml",))


def test_a_file_of_a_row_replaces_the_one_from_the_same_folder(tmp_path: Path) -> None:
    row = "{name: more, configs: [model/other.yaml, crf/crf.yaml], train: {}, paper: 1}"
    more = read_table(write_tree(tmp_path, tmp_path, f"{TABLE}  - {row}\n")).row("more")
    assert more.configs == ("base.yaml", "data/shapes.yaml", "model/other.yaml", "crf/crf.yaml")


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ("{paper: 1}", ["name"]),
        ("abc", ["'abc'"]),
        ("{name: '', paper: 1}", ["name"]),
        ("{name: 'a, b', paper: 1}", ["'a, b'", "comma"]),
        ("{name: 7, paper: 1}", ["name", "7"]),
        ("{name: a, paper: .nan}", ["paper", "percent", "nan"]),
        ("{name: a, paper: true}", ["paper", "True"]),
        ("{name: a, paper: 7312}", ["paper", "percent", "7312"]),
        ("{name: a, paper: high}", ["paper", "'high'"]),
        ("{name: a, paper: 1, train: }", ["train", "None"]),
        ("{name: a, paper: 1, train: [1]}", ["train", "[1]"]),
        ("{name: a, paper: 1, train: {1: 2}}", [": 1 is", "model.init_args.output_stride"]),
        ("{name: a, paper: 1, evaluate: [x]}", ["evaluate", "['x']"]),
        ("{name: a, paper: 1, evaluate: {configs: crf/crf.yaml}}", ["configs", "a list", "'crf/crf.yaml'"]),
        ("{name: a, paper: 1, columns: 5}", ["columns", "5"]),
        ("{name: a, paper: 1, columns: {1: b}}", ["columns", "1: 'b'"]),
        ("{name: a, paper: 1, columns: {size: [1]}}", ["columns", "'size': [1]"]),
        ("{name: a, paper: 1, train: {data.a: 1, data.a.b: 2}}", ["data.a", "in part"]),
        ("{name: a, paper: 1, metric: 5}", ["metric", "5"]),
        ("{name: a, paper: 1, metric: miou}", ["metric", "val/miou", "'miou'"]),
        ("{name: a, paper: 1, metric: train/loss}", ["metric", "'train/loss'"]),
        ("{name: a, paper: 1, metric: val/trimap_miou}", ["metric", "'val/trimap_miou'"]),
        ("{name: a, paper: 1, metric: val/miou crf}", ["metric", "'val/miou crf'"]),
        ("{name: a, paper: 1, train: {}, configs: [1]}", ["configs", "1"]),
        ("{name: a, paper: 1, configs: [model/other.yaml]}", ["configs", "train: {}"]),
        ("{name: plain, paper: 1}", ["'plain'", "two rows"]),
        ("{name: a, papr: 1, paper: 1}", ["'papr'", "paper"]),
        ("{name: a, train: {}}", ["paper", "stage"]),
        ("{name: a, paper: null, train: {}}", ["paper", "note"]),
        ("{name: a, paper: 1, train: {output_stride: 8}}", ["'output_stride'", "model.init_args.output_stride"]),
        ("{name: a, paper: 1, train: {}, configs: [model/none.yaml]}", ["no file", "model/none.yaml"]),
        ("{name: a, paper: 1, start_from: plain}", ["start_from", "train: {}"]),
        ("{name: a, paper: 1, train: {}, start_from: none}", ["'none'", "others, plain"]),
        ("{name: a, paper: 1, train: {}, start_from: others}", ["'others'", "train"]),
        ("{name: a, paper: 1, train: {}, not_reproducible: private}", ["not_reproducible"]),
    ],
)
def test_faults_name_the_key_and_the_value(row: str, named: list[str], tmp_path: Path) -> None:
    said = fault(tmp_path, row)
    assert all(name in said for name in named), said


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("- 1\n", "no mapping"),
        ("table: one\nmetric: val/miou\nconfigs: []\n", "rows"),
        ("table: one\nmetric: val/miou\nconfigs: []\nrows: []\n", "no rows"),
        ("table: one\nmetric: val/miou\nconfigs: []\nrows: {a: 1}\n", "rows .*'a': 1"),
    ],
)
def test_files_that_are_no_tables(content: str, named: str, tmp_path: Path) -> None:
    (tmp_path / "table.yaml").write_text(content)
    with pytest.raises(TableError, match=f"table.yaml.*{named}"):
        read_table(tmp_path / "table.yaml")
    with pytest.raises(TableError, match=r"none\.yaml"):
        read_table(tmp_path / "none.yaml")


def test_a_metric_is_the_name_of_a_score(tmp_path: Path) -> None:
    row = "{name: more, train: {}, metric: test/iou_crf/car, paper: 1}"
    table = read_table(write_tree(tmp_path, tmp_path, f"{TABLE}  - {row}\n"))
    assert table.row("plain").metric == ScoreName("val", "miou")
    assert table.row("more").metric == ScoreName("test", "iou", "car", refined=True)


def test_the_tables_at_a_path(tmp_path: Path) -> None:
    path = write_tree(tmp_path, tmp_path)
    assert table_files(path) == [path] == table_files(path.parent)
    (path.parent / "logs").mkdir()  # of a run
    assert table_files(path.parent) == []
