import pytest

from deeplab_lightning.scores import Score, ScoreName

NAMES = {
    "val/miou": ScoreName("val", "miou"),
    "test/miou_gain_crf": ScoreName("test", "miou_gain", refined=True),
    "val/iou_crf/road/rail_crf": ScoreName("val", "iou", "road/rail_crf", refined=True),
    "val/trimap_miou/3": ScoreName("val", "trimap_miou", "3"),
    "server/miou": ScoreName("server", "miou"),
}


@pytest.mark.parametrize(("text", "name"), NAMES.items())
def test_a_name_equals_its_parsed_text(text: str, name: ScoreName) -> None:
    assert ScoreName.parse(text) == name
    assert str(name) == text


@pytest.mark.parametrize(
    "text", ["", "miou", "/miou", "val/", "val/_crf", "val/trimap_miou", "val/trimap_miou_crf/wide"]
)
def test_a_text_that_is_not_a_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=repr(text)):
        ScoreName.parse(text)


def test_a_band_knows_its_width_and_its_name_without_the_crf() -> None:
    name = ScoreName.parse("val/trimap_accuracy_crf/12")
    assert name.is_band
    assert name.width == 12
    assert str(name.unrefined) == "val/trimap_accuracy/12"


def test_a_score_equals_its_parsed_record() -> None:
    record = {"split": "val", "metric": "val/iou/car", "value": 0.5, "identity": {"split": "val"}}
    score = Score.of_record(record)
    assert score == Score(ScoreName("val", "iou", "car"), 0.5, {"split": "val"})
    assert score.as_record() == record


@pytest.mark.parametrize("change", [{"value": "0.5"}, {"identity": None}, {"metric": "miou"}])
def test_a_damaged_record_is_refused(change: dict[str, object]) -> None:
    record = {"split": "val", "metric": "val/miou", "value": 0.5, "identity": {"split": "val"}}
    with pytest.raises((LookupError, TypeError, ValueError)):
        Score.of_record(record | change)
