from pathlib import Path

import pytest

from deeplab_lightning.ablation.table import TableError, read_table
from tests.ablation.tables import TABLE, write_tree


def fault(folder: Path, row: str) -> str:
    """What is said about a table with one more row."""
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


def test_a_row_that_is_only_scored_trains_as_the_files_say(tmp_path: Path) -> None:
    row = "{name: more, evaluate: {configs: [crf/crf.yaml]}, paper: 1}"
    more = read_table(write_tree(tmp_path, tmp_path, f"{TABLE}  - {row}\n")).row("more")
    assert (more.train, more.evaluate, more.evaluate_configs) == ({}, {}, ("crf/crf.yaml",))


def test_a_rows_file_takes_the_place_of_the_one_from_its_folder(tmp_path: Path) -> None:
    row = "{name: more, configs: [model/other.yaml, crf/crf.yaml], train: {}, paper: 1}"
    more = read_table(write_tree(tmp_path, tmp_path, f"{TABLE}  - {row}\n")).row("more")
    assert more.configs == ("base.yaml", "data/shapes.yaml", "model/other.yaml", "crf/crf.yaml")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{paper: 1}", "name is missing"),
        ("abc", "a row must be a mapping, got 'abc'"),
        ("{name: '', paper: 1}", "a name is not empty"),
        ("{name: 'a, b', paper: 1}", "has no comma"),
        ("{name: 7, paper: 1}", "name must be a text; got 7"),
        ("{name: a, paper: .nan}", "paper must be a number in percent, got nan"),
        ("{name: a, paper: true}", "paper must be a number, or null; got True"),
        ("{name: a, paper: 1, train: }", "train must be a mapping; where it is empty, {}; got None"),
        ("{name: a, paper: 1, train: [1]}", "train must be a mapping"),
        ("{name: a, paper: 1, train: {1: 2}}", "1 is no setting"),
        ("{name: a, paper: 1, evaluate: [x]}", "evaluate must be a mapping"),
        ("{name: a, paper: 1, evaluate: {configs: crf/crf.yaml}}", "configs must be a list; got 'crf/crf.yaml'"),
        ("{name: a, paper: 7312}", "paper must be a number in percent, got 7312"),
        ("{name: a, paper: 1, columns: 5}", "columns must be a mapping"),
        ("{name: a, paper: 1, columns: {1: b}}", "columns must be texts or numbers by their headings; got 1: 'b'"),
        ("{name: a, paper: 1, columns: {size: [1]}}", "columns must be texts or numbers by their headings"),
        ("{name: a, paper: 1, train: {data.a: 1, data.a.b: 2}}", "data.a is set as a whole and in part"),
        ("{name: a, paper: 1, metric: 5}", "metric must be a text"),
        ("{name: a, paper: 1, train: {}, configs: [1]}", "configs must name files; got 1"),
        ("{name: a, paper: 1, configs: [model/other.yaml]}", "it trains nothing, so it takes no configs"),
        ("{name: plain, paper: 1}", "two rows of this name"),
        ("{name: a, papr: 1, paper: 1}", "unknown key 'papr'"),
        ("{name: a, train: {}}", "it needs paper, the published number, or stage"),
        ("{name: a, paper: null, train: {}}", "needs a note"),
        ("{name: a, paper: high}", "paper must be a number, or null; got 'high'"),
        ("{name: a, paper: 1, metric: miou}", "metric must be a logged name such as val/miou, got 'miou'"),
        ("{name: a, paper: 1, train: {output_stride: 8}}", "'output_stride' is no setting"),
        ("{name: a, paper: 1, train: {}, configs: [model/none.yaml]}", "there is no file"),
        ("{name: a, paper: 1, start_from: plain}", "of rows that train"),
        ("{name: a, paper: 1, train: {}, start_from: none}", "there is no row 'none'; the rows are others, plain"),
        ("{name: a, paper: 1, train: {}, start_from: others}", "'others', which does not train"),
        ("{name: a, paper: 1, train: {}, not_reproducible: private}", "of rows that do not train"),
    ],
)
def test_faults(row: str, message: str, tmp_path: Path) -> None:
    assert message in fault(tmp_path, row)


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="none.yaml: no such file"):
        read_table(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(TableError, match="it holds no mapping"):
        read_table(tmp_path / "list.yaml")
    (tmp_path / "part.yaml").write_text("table: one\nmetric: val/miou\nconfigs: []\n")
    with pytest.raises(TableError, match="rows is missing"):
        read_table(tmp_path / "part.yaml")
    (tmp_path / "part.yaml").write_text("table: one\nmetric: val/miou\nconfigs: []\nrows: []\n")
    with pytest.raises(TableError, match="it has no rows"):
        read_table(tmp_path / "part.yaml")
    (tmp_path / "part.yaml").write_text("table: one\nmetric: val/miou\nconfigs: []\nrows: {a: 1}\n")
    with pytest.raises(TableError, match="rows must be a list"):
        read_table(tmp_path / "part.yaml")
