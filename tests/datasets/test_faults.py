"""Faults, raised or collected, and images.DataError, from which they are made."""

import pickle
from pathlib import Path

import pytest

from deeplab_lightning.datasets.faults import Fault, NoSuchSplitError, collecting, refuse
from deeplab_lightning.datasets.images import DataError


def test_faults_are_collected_within_the_block_only(tmp_path: Path) -> None:
    with collecting() as faults:
        refuse("one", tmp_path)
        refuse("two", tmp_path / "a", 3)
    assert faults == [Fault(str(tmp_path), f"{tmp_path}: one"), Fault(f"{tmp_path}/a", f"{tmp_path}/a, line 3: two")]
    with pytest.raises(DataError, match=rf"^{tmp_path}, line 5: three$") as caught:
        refuse("three", tmp_path, 5)
    assert (caught.value.path, caught.value.line) == (tmp_path, 5)


@pytest.mark.parametrize(
    "error", [DataError("no place"), DataError("one", Path("a")), NoSuchSplitError("two", Path("b"), 2)]
)
def test_an_error_keeps_its_path_and_line_when_pickled(error: DataError) -> None:
    arrived = pickle.loads(pickle.dumps(error))
    assert (type(arrived), str(arrived), arrived.path, arrived.line) == (
        type(error),
        str(error),
        error.path,
        error.line,
    )
    assert Fault.of(arrived) == Fault(str(error.path or ""), str(error))
