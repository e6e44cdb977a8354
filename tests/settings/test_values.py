"""Values that fit their types, and the errors for those that do not."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytest

from deeplab_lightning.settings.values import MAX_LENGTH, check_value, item_type, shown
from deeplab_lightning.usage import UsageError

FITTING: list[tuple[Any, Any]] = [
    (int, "3"),
    (int, 3),
    (float, 3),
    (bool, "true"),
    (str | None, None),
    (str | None, "null"),
    (Any, None),
    (tuple[int, int], [3, 4]),
    (tuple[int, int], "[3, 4]"),
    (Literal["sgd", "adamw"], "sgd"),
    (None, object()),
]
WRONG: list[tuple[Any, Any, str]] = [
    (int, "4.5", r"a whole number.*'4\.5'"),
    (int, 4.5, r"a whole number.*4\.5"),
    (float, "abc", "a number.*'abc'"),
    (bool, "maybe", "true or false.*'maybe'"),
    (Sequence[float], "0.5,1", r"a list of numbers.*'0\.5,1'.*mean \[0\.5,1\]"),
    (tuple[int, int], "[1, 2, 3]", r"2 whole numbers in brackets.*\[1, 2, 3\]"),
    (tuple[int, int], "128", r"2 whole numbers in brackets.*mean \[128, 128\]"),
    (Literal["sgd", "adamw"], "adam", "one of sgd, adamw.*'adam'.*mean adamw"),
    (Literal["auto"] | None, "Auto", "one of auto.*'Auto'.*mean auto"),
    (Mapping[str, float], "ten", "names with numbers.*'ten'"),
    (int, 10**5000, "too large"),
    (int, None, "a whole number, got null"),
    (tuple[int, int], "null", "2 whole numbers in brackets, got 'null'"),
]


@pytest.mark.parametrize(("hint", "value"), FITTING)
def test_values_that_fit(hint: Any, value: Any) -> None:
    check_value("x", hint, value)


@pytest.mark.parametrize(("hint", "value", "sentence"), WRONG, ids=range(len(WRONG)))
def test_wrong_values_are_named_with_the_expected_type(hint: Any, value: Any, sentence: str) -> None:
    if isinstance(value, int) and value > 10:
        hint = str  # any whole number fits int
    with pytest.raises(UsageError, match=f"model.x.*{sentence}"):
        check_value("model.x", hint, value)


def test_the_type_of_a_mappings_values() -> None:
    assert item_type(Mapping[str, float] | None) is float
    assert item_type(list[int]) is None


def test_a_long_value_is_cut() -> None:
    assert shown("a") == "'a'"
    assert len(shown("a" * 1000)) == MAX_LENGTH + 3
