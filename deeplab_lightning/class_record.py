"""The record of an evaluation by class: its confusion matrix, with the names and colours of the classes."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from deeplab_lightning.atomic import write_atomically
from deeplab_lightning.palette import Color, Palette


@dataclass(frozen=True)
class ClassRecord:
    """The confusion matrix of one evaluation.

    Args:
        palette: Names and colours of the K classes.
        matrix: Numbers of pixels (K, K) of each class (row) that were predicted as each class (column).
        identity: Evaluation identity, as plain values.

    Raises:
        ValueError: The matrix does not have a row and a column for each class, or it holds other than counts.
    """

    palette: Palette
    matrix: list[list[int]]
    identity: dict[str, Any]

    def __post_init__(self) -> None:
        sides = {len(self.matrix), *map(len, self.matrix)}
        if sides != {len(self.palette.class_names)}:
            raise ValueError(f"{len(self.palette.class_names)} classes, but a confusion matrix of {sorted(sides)}")
        if not all(isinstance(count, int) and count >= 0 for row in self.matrix for count in row):
            raise ValueError("the confusion matrix holds other than counts")

    @property
    def colors(self) -> dict[str, Color]:
        """The colours of the classes by name."""
        return dict(zip(self.palette.class_names, self.palette.colors, strict=True))

    def write(self, path: Path) -> None:
        """Write the record as JSON."""
        plain = {"identity": self.identity, "palette": self.palette.as_dict(), "matrix": self.matrix}
        write_atomically(path, json.dumps(plain))

    @classmethod
    def of_record(cls, record: Any) -> Self:
        """The record in the values of a file.

        Raises:
            LookupError, TypeError, ValueError: The values are not such a record.
        """
        return cls(Palette.from_dict(record["palette"]), record["matrix"], record["identity"])
