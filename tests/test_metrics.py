import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.classification import MulticlassJaccardIndex

from deeplab_lightning.metrics import (
    ConfusionMatrix,
    ImageMean,
    SegmentationScores,
    TrimapBands,
    iou_per_class,
    mean_iou,
    pixel_accuracy,
    scores_per_class,
    void_distance,
)
from deeplab_lightning.scores import ScoreName


def random_maps(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    prediction = torch.randint(0, 5, (3, 20, 24), generator=generator)
    target = torch.randint(0, 5, (3, 20, 24), generator=generator)
    target[torch.rand(target.shape, generator=generator) < 0.2] = 255
    return prediction, target


def test_mean_iou_equals_torchmetrics() -> None:
    prediction, target = random_maps()
    matrix = ConfusionMatrix(5)
    for index in range(3):
        matrix.update(prediction[index : index + 1], target[index : index + 1])
    reference = MulticlassJaccardIndex(5, average="none", ignore_index=255)(prediction, target)
    torch.testing.assert_close(iou_per_class(matrix.compute()).float(), reference)
    assert matrix.compute().dtype == torch.int64
    assert int(matrix.compute().sum()) == int((target != 255).sum())


def test_matrix_holds_targets_in_rows() -> None:
    matrix = ConfusionMatrix(3)
    matrix.update(torch.tensor([[[0, 2, 2]]]), torch.tensor([[[0, 1, 255]]]))
    assert matrix.compute().tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_mean_is_over_the_split_not_over_images() -> None:
    """One of the two images has class 1 in a single pixel, so the mean over images would differ."""
    target = torch.zeros(2, 10, 10, dtype=torch.int64)
    target[0, 0, 0] = 1
    target[1, :5] = 1
    prediction = target.clone()
    prediction[0, 0, 0] = 0
    matrix = ConfusionMatrix(2)
    matrix.update(prediction, target)
    assert mean_iou(matrix.compute()) == pytest.approx(((149 / 150) + (50 / 51)) / 2)


def test_a_class_that_never_occurs_is_left_out() -> None:
    matrix = torch.tensor([[3, 1, 0], [0, 2, 0], [0, 0, 0]])
    assert iou_per_class(matrix)[2].isnan()
    assert mean_iou(matrix) == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert pixel_accuracy(matrix) == pytest.approx(5 / 6)


def trimap_by_definition(target: Tensor, width: int) -> Tensor:
    """The band of v1's protocol: the void dilated by a square of side 2 width + 1, without the void."""
    void = target == 255
    dilated = F.max_pool2d(void[:, None].float(), 2 * width + 1, 1, width)[:, 0] > 0
    return dilated & ~void


@pytest.mark.parametrize("size", [(30, 31), (1, 50), (50, 1), (90, 70)])
def test_void_distance_gives_all_trimap_bands(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    target = torch.randint(0, 5, (3, *size), generator=generator)
    target[0][torch.rand(size, generator=generator) < 0.01] = 255
    target[1, -1, -1] = 255  # the third image has no void
    distance = void_distance(target, 40)
    for width in range(1, 41):
        assert torch.equal((distance > 0) & (distance <= width), trimap_by_definition(target, width)), width
    assert torch.equal(distance == 0, target == 255)
    assert (distance[2] == 41).all()


def test_every_band_has_its_confusion_matrix() -> None:
    prediction, target = random_maps()
    target[target == 255] = 0
    target[0, 3, 4] = target[1, 19, 0] = 255
    bands = TrimapBands(5, 12)
    for index in range(3):
        bands.update(prediction[index : index + 1], target[index : index + 1])
    matrices = bands.compute()
    assert matrices.dtype == torch.int64
    for width in (1, 2, 7, 12):
        expected = ConfusionMatrix(5)
        expected.update(prediction, target.where(trimap_by_definition(target, width), 255))
        assert torch.equal(matrices[width - 1], expected.compute())
    for width in (0, 255):
        with pytest.raises(ValueError, match=f"got {width}"):
            TrimapBands(5, width)


def test_scores_have_names_and_are_nan_where_nothing_was_measured() -> None:
    prediction, target = random_maps()
    scores = SegmentationScores(["a", "b", "c", "d", "e", "never"], trimap_width=2)
    scores.update(prediction, target)
    values = {str(name): value for name, value in scores.compute("val", refined=True).items()}
    measured = {"val/miou_crf", "val/pixel_accuracy_crf", "val/trimap_miou_crf/2"}
    measured |= {f"val/iou_crf/{name}" for name in "abcde"}
    assert {name for name, value in values.items() if not math.isnan(value)} == measured
    assert set(values) - measured == {"val/iou_crf/never"}
    assert scores.num_images == 3
    without_void = SegmentationScores(["a", "b"])
    without_void.update(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4))
    assert math.isnan(without_void.compute("test")[ScoreName("test", "trimap_miou", "3")])
    scores.reset()
    assert math.isnan(mean_iou(scores.whole.matrix))
    assert not scores.bands.rings.any()


def test_scores_leave_nothing_in_a_checkpoint() -> None:
    assert not SegmentationScores(["a", "b"]).state_dict()


def test_invalid_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match="4, 4.*4, 5"):
        ConfusionMatrix(2).update(torch.zeros(1, 4, 4), torch.zeros(1, 4, 5))
    with pytest.raises(ValueError, match="trimap.* 0"):
        SegmentationScores(["a", "b"], 0)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.float32])
def test_a_label_that_is_not_a_class_is_named_and_nothing_is_counted(dtype: torch.dtype) -> None:
    """Without the check, the labels would count as another class or end in an error of torch."""
    beyond = [("target", label) for label in (-1, 5, 254, 256, 2**20)]
    beyond += [("prediction", label) for label in (-1, 5, 255, 256, 2**20)]
    for name, label in beyond:
        labels = {"prediction": torch.zeros(2, 6, 7, dtype=dtype), "target": torch.zeros(2, 6, 7, dtype=dtype)}
        labels["target"][1, 2, 3] = 255
        labels[name][1, 2, 4] = label
        for metric in (ConfusionMatrix(5), TrimapBands(5, 2)):
            with pytest.raises(ValueError, match=rf"{name} .* {label}(\.0)?, .* 0 to 4"):
                metric.update(**labels)
            assert not metric.compute().any()


def test_unsigned_labels_and_batches_without_images_are_counted() -> None:
    target = torch.tensor([[[0, 254, 255]]], dtype=torch.uint8)
    for metric in (ConfusionMatrix(255), TrimapBands(255, 1)):
        metric.update(target.clamp(max=254), target)
        metric.update(target[:0], target[:0])
    assert int(metric.compute().sum()) == 1


def test_the_mean_over_ranks_with_different_numbers_of_images() -> None:
    losses = [0.1, 0.7, 0.2, 2.5, 0.3, 0.9, 4.0]
    mean = ImageMean()
    mean.update(torch.tensor(losses[:3]))
    mean.update(losses[3])
    mean.distributed_available_fn = lambda: True
    others = iter([torch.tensor(sum(losses[4:]), dtype=torch.float64), torch.tensor(3.0, dtype=torch.float64)])
    mean.dist_sync_fn = lambda own, **_: [own, next(others)]
    assert float(mean.compute()) == pytest.approx(sum(losses) / 7, abs=1e-7)


def test_a_nan_loss_makes_the_mean_nan() -> None:
    mean = ImageMean()
    mean.update(torch.tensor([1.0, math.nan]))
    assert mean.compute().isnan()


def test_scores_of_classes() -> None:
    """8 true positives, 2 missed and 4 false alarms of class 0; class 2 occurs nowhere."""
    scores = scores_per_class(torch.tensor([[8, 2, 0], [4, 6, 0], [0, 0, 0]]))
    first = {name: float(values[0]) for name, values in scores.items()}
    assert first == pytest.approx({"IoU": 8 / 14, "precision": 8 / 12, "recall": 0.8, "F1": 16 / 22})
    assert all(values[2].isnan() for values in scores.values())
