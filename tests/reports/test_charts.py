import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from deeplab_lightning.reports.charts import LEGEND_ROWS, bars, confusion, lines, svg


def test_seeds_share_a_colour_and_a_name() -> None:
    (axes,) = lines("loss", {"a": [[(0, 1), (1, 2)], [(0, 2), (1, 3)]], "b": [[(0, 3.0), (1, 4.0)]]}).axes
    assert [line.get_color() for line in axes.lines].count(axes.lines[0].get_color()) == 2
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
    assert [np.asarray(line.get_ydata()).tolist() for line in axes.lines] == [[1, 2], [2, 3], [3, 4]]


def test_a_long_legend_stands_beside_the_chart() -> None:
    figure = lines("loss", {f"row{number}": [[(0, number)]] for number in range(LEGEND_ROWS + 1)})
    assert figure.axes[0].get_legend() is None
    assert len(figure.legends[0].get_texts()) == LEGEND_ROWS + 1


def test_a_class_that_one_row_lacks_keeps_its_place() -> None:
    columns = bars({"a": {"road": 0.5, "car": 0.25}, "b": {"car": 0.75}}).axes
    assert [text.get_text() for text in columns[0].get_yticklabels()] == ["road", "car"]
    assert [bar.get_width() for bar in columns[0].patches if isinstance(bar, Rectangle)] == [0.5, 0.25]
    assert [text.get_text() for text in columns[1].texts] == ["none", "75.0"]


def test_bars_of_classes_have_swatches_that_stay_black_in_the_dark() -> None:
    figure = bars({"a": {"background": 0.5, "other": 0.4, "car": 0.25}}, {"background": (0, 0, 0), "car": (0, 0, 142)})
    assert [np.asarray(line.get_ydata()).item() for line in figure.axes[0].lines] == [0, 2]
    picture = svg(figure)
    assert "fill: #010101" in picture
    assert "fill: #00008e" in picture


def test_confusion_is_normalised_by_the_targets_pixels() -> None:
    matrix = torch.tensor([[60, 20, 0], [0, 0, 0], [1, 999, 0]])
    (axes,) = confusion(matrix, ["road", "car", "bicycle"]).axes
    assert {(text.get_position(), text.get_text()) for text in axes.texts} == {
        ((0, 0), "75"),
        ((1, 0), "25"),
        ((1, 2), "100"),
    }
    assert to_rgb(axes.texts[0].get_color()) == (1, 1, 1)  # on a dark field
    assert np.asarray(axes.images[0].get_array())[0] == pytest.approx([0.75, 0.25, 0])


@pytest.mark.parametrize("name", ["$x$", "$\\frac$", "a\\$b", "$", "_a", "a^b_c", "[red]"])
def test_names_are_shown_literally(name: str) -> None:
    other = {"other": [[(0.0, 1.0)]]}
    many = {f"row{number}": [[(0.0, 1.0)]] for number in range(LEGEND_ROWS)}
    for figure, times in (
        (lines(name, {name: [[(0.0, 1.0)]]} | other), 2),
        (lines(name, {name: [[(0.0, 1.0)]]} | many), 2),
        (bars({name: {name: 0.5}}), 2),
        (confusion(torch.ones(1, 1), [name]), 2),
    ):
        assert svg(figure).count(f">{name}</text>") == times


def test_svg_is_one_element_with_text() -> None:
    picture = svg(lines("a <b>", {"c": [[(0, 1), (1, 2)]]}))
    assert picture.startswith("<svg")
    assert picture.rstrip().endswith("</svg>")
    assert ">a &lt;b&gt;</text>" in picture
