"""Scores and their names, which become text when they are logged and are parsed when a run folder is read."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

REFINED, BAND = "_crf", "trimap_"


@dataclass(frozen=True)
class ScoreName:
    """The name under which a score is logged, such as `val/iou_crf/person` or `val/trimap_miou/3`.

    Args:
        split: Split of the data: "val", "test", or "server" for the split of a benchmark's server.
        kind: Kind of score: "miou", "pixel_accuracy", "iou", "trimap_miou", "loss" and so on.
        detail: Class of an "iou", or width in pixels of the band of a "trimap_..."; empty for other kinds.
        refined: The prediction was refined by a CRF.
    """

    split: str
    kind: str
    detail: str = ""
    refined: bool = False

    def __str__(self) -> str:
        name = f"{self.split}/{self.kind}{REFINED if self.refined else ''}"
        return f"{name}/{self.detail}" if self.detail else name

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the text of a name.

        Raises:
            ValueError: The text has no split or no kind.
        """
        split, _, rest = text.partition("/")
        kind, _, detail = rest.partition("/")
        name = cls(split, kind.removesuffix(REFINED), detail, kind.endswith(REFINED))
        if not name.split or not name.kind:
            raise ValueError(f"{text!r} is not the name of a score")
        return name

    @property
    def is_band(self) -> bool:
        """Whether the score is for a band along void borders."""
        return self.kind.startswith(BAND) and self.detail.isdecimal()

    @property
    def width(self) -> int:
        """The width of the band in pixels."""
        return int(self.detail)


@dataclass(frozen=True)
class Score:
    """A number with its name and the way it was measured.

    Args:
        name: Name under which the score is logged.
        value: The number, in 0..1 for shares of pixels or areas.
        identity: Evaluation identity, as plain values.
    """

    name: ScoreName
    value: float
    identity: dict[str, Any]

    def as_record(self) -> dict[str, Any]:
        """Return plain values {split, metric, value, identity}, ready for JSON."""
        return {
            "split": self.identity["split"],
            "metric": str(self.name),
            "value": self.value,
            "identity": self.identity,
        }

    @classmethod
    def of_record(cls, record: Any) -> Self:
        """Return the score of a record.

        Raises:
            LookupError, TypeError, ValueError: The value is not the record of a score.
        """
        value, identity = record["value"], record["identity"]
        if not isinstance(value, float | int) or not isinstance(identity, dict):
            raise TypeError(f"{record['metric']} has the value {value!r}")
        return cls(ScoreName.parse(record["metric"]), float(value), identity)


def group_scores(scores: Iterable[Score]) -> list[dict[str, Any]]:
    """Group scores into one {identity, scores} for each identity, ready for JSON."""
    groups: dict[str, dict[str, Any]] = {}
    for score in scores:
        group = groups.setdefault(str(score.identity), {"identity": score.identity, "scores": {}})
        group["scores"][str(score.name)] = score.value
    return list(groups.values())


def ungroup_scores(groups: Iterable[dict[str, Any]]) -> list[Score]:
    """Return the scores in groups that `group_scores` made.

    Raises:
        LookupError, TypeError, ValueError: The values are not such groups.
    """
    records = (
        {"metric": metric, "value": value, "identity": group["identity"]}
        for group in groups
        for metric, value in group["scores"].items()
    )
    return [Score.of_record(record) for record in records]
