"""The comparison counts differences, labels and ties, and refuses what is not good enough."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from deeplab_lightning import Segmenter
from deeplab_lightning.export.check import Agreement, ExportError, compare, demand
from deeplab_lightning.export.graph import ExportedNetwork
from deeplab_lightning.segmentation.graph_file import Interface


@pytest.fixture(scope="module")
def network(thin_segmenter: tuple[Path, Segmenter]) -> ExportedNetwork:
    return ExportedNetwork(thin_segmenter[1], Interface()).eval()


def test_differences_labels_and_ties_are_counted(network: ExportedNetwork) -> None:
    batch = network.example(1, 33, 40)
    expected = network(batch)[0]
    spread = float(expected.max() - expected.min())
    same = compare(network, lambda _: expected, [batch])
    assert (same.difference, same.num_pixels, same.equal, same.num_ties) == (0, 33 * 40, 1, 0)
    assert same.value_range == pytest.approx(spread)

    first, second = expected.topk(2, 1).values.unbind(1)
    close = (first - second)[0].flatten().kthvalue(10).values  # of the pixels with the closest labels, ten
    swapped = expected.clone()
    order = expected.argsort(1, descending=True)
    is_close = (first - second <= close)[:, None]
    best, other = order[:, :1], order[:, 1:2]
    swapped.scatter_(1, best, torch.where(is_close, second[:, None], first[:, None]))
    swapped.scatter_(1, other, torch.where(is_close, first[:, None], second[:, None]))
    counted = compare(network, lambda _: swapped, [batch], tie=0)
    assert (counted.num_pixels - counted.num_equal, counted.num_ties) == (10, 0)
    forgiven = compare(network, lambda _: swapped, [batch], tie=float(close) / spread * 1.01)
    assert (forgiven.equal, forgiven.num_ties) == (1, 10)
    assert forgiven.difference == pytest.approx(float(close), rel=1e-3)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [(lambda logits: logits[..., 1:], "32"), (lambda logits: logits * float("nan"), "not finite")],
)
def test_a_graph_of_another_kind_is_refused(network: ExportedNetwork, wrong: object, named: str) -> None:
    batch = network.example(1, 33, 33)
    with pytest.raises(ExportError, match=named):
        compare(network, lambda images: wrong(network(images)[0]), [batch])  # type: ignore[operator]


def test_labels_are_compared_as_they_are(thin_segmenter: tuple[Path, Segmenter]) -> None:
    labels = ExportedNetwork(thin_segmenter[1], Interface("pixels", "labels")).eval()

    def run(pixels: Tensor) -> Tensor:
        found: Tensor = labels(pixels)[0].clone()
        found[0, 0, :7] += 1
        return found

    agreement = compare(labels, run, [labels.example(2, 20, 30)])
    assert (agreement.num_pixels, agreement.num_equal, agreement.relative) == (1200, 1193, 0)
    assert str(agreement) == "equal labels 99.417 % of 1200 pixels"


@pytest.mark.parametrize(("difference", "equal"), [(2e-3, 100), (0.0, 99), (float("nan"), 100)])
def test_what_is_not_good_enough_is_refused(difference: float, equal: int) -> None:
    good = Agreement(1e-4, 1.0, 100, 100)
    assert demand(good) is good
    with pytest.raises(ExportError, match="0.001 of the range.*99.99 %"):
        demand(Agreement(difference, 1.0, 100, equal))
