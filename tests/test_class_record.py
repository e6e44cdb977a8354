import json
from pathlib import Path
from typing import Any

import pytest

from deeplab_lightning.class_record import ClassRecord
from tests.run_folders import write_classes


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = write_classes(tmp_path)
    assert ClassRecord.of_record(json.loads((tmp_path / "classes_test.json").read_text())) == record


@pytest.mark.parametrize("matrix", [[[1, 0], [0, 1]], [[1, 0, 0], [0, 1], [0, 0, 1]], [[1, 0, 0], [0, -1, 0], [0] * 3]])
def test_a_matrix_that_is_none_of_the_classes_is_refused(matrix: Any, tmp_path: Path) -> None:
    record = write_classes(tmp_path)
    with pytest.raises(ValueError, match="confusion matrix"):
        ClassRecord(record.palette, matrix, record.identity)
