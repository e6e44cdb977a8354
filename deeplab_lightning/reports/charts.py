"""The charts of pages and notebooks, as matplotlib figures that need no display."""

from collections.abc import Mapping, Sequence
from io import StringIO

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from deeplab_lightning.palette import Color
from deeplab_lightning.run_reader import Curve

LEGEND_ROWS = 5  # a longer legend stands beside the chart
MARKED_POINTS = 30  # a curve with fewer points has a marker at each
SHOWN_SHARE = 0.01  # smaller entries of a confusion matrix are drawn without a number


def lines(title: str, curves: Mapping[str, Sequence[Curve]], x: str = "step", y: str = "") -> Figure:
    """Draw curves by name. The curves of one name, one for each seed, share a colour.

    Args:
        title: The title above the chart.
        curves: The curves by name.
        x: The label of the horizontal axis.
        y: The label of the vertical axis.
    """
    beside = len(curves) > LEGEND_ROWS
    figure = Figure(figsize=(6.8 if beside else 4.6, max(2.8, 0.2 * len(curves))), layout="constrained")
    axes = figure.subplots()
    named: dict[str, Artist] = {}
    for color, (name, seeds) in zip(_colors(len(curves)), curves.items(), strict=True):
        for curve in seeds:
            marker = "o" if len(curve) < MARKED_POINTS else None
            xs, ys = zip(*curve, strict=True)
            (line,) = axes.plot(xs, ys, color=color, lw=1.2, marker=marker, markersize=3)
            named.setdefault(_plain(name), line)
    axes.set_title(_plain(title), fontsize=10)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    if beside:
        figure.legend(named.values(), named.keys(), loc="outside right upper", fontsize=7, framealpha=0)
    elif len(curves) > 1:
        axes.legend(named.values(), named.keys(), fontsize=8, framealpha=0)
    return figure


def _plain(name: str) -> str:
    """Escape dollar signs, between which matplotlib would read a formula."""
    return name.replace("$", r"\$")


def _colors(count: int) -> list[tuple[float, ...]]:
    palette = matplotlib.colormaps["tab10" if count <= 10 else "tab20"]
    return [palette(number % palette.N) for number in range(count)]


def bars(values: Mapping[str, Mapping[str, float]], swatches: Mapping[str, Color] | None = None) -> Figure:
    """Draw one bar chart for each name, side by side, of values in 0..1 such as the IoU of each class.

    Args:
        values: The values by label, by name of the chart.
        swatches: The colours of labels, drawn as squares beside them.
    """
    labels = list(dict.fromkeys(label for each in values.values() for label in each))
    height = 0.4 + 0.17 * len(labels)
    figure = Figure(figsize=(1.3 + 1.45 * len(values), height), layout="constrained")
    columns = figure.subplots(1, len(values), sharey=True, squeeze=False)[0]
    for axes, color, (name, each) in zip(columns, _colors(len(values)), values.items(), strict=True):
        drawn = axes.barh(range(len(labels)), [each.get(label, 0) for label in labels], color=color)
        texts = [f"{100 * each[label]:.1f}" if label in each else "none" for label in labels]
        axes.bar_label(drawn, texts, padding=2, fontsize=7)
        axes.set_title(_plain(name), fontsize=8)
        axes.set_yticks(range(len(labels)), map(_plain, labels))
        axes.set_xlim(0, 1.25)
        axes.set_xticks([])
        axes.tick_params(length=0, labelsize=8)
        axes.spines[:].set_visible(False)
    columns[0].invert_yaxis()
    if swatches:
        _draw_swatches(columns[0], [swatches.get(label) for label in labels])
    return figure


def _draw_swatches(axes: Axes, colors: Sequence[Color | None]) -> None:
    """Draw squares between a vertical axis and its labels."""
    axes.tick_params(pad=14)
    for row, color in enumerate(colors):
        if color is not None:
            face = [value / 255 for value in (color if any(color) else (1, 1, 1))]  # pages replace the text's black
            (square,) = axes.plot(-0.07, row, "s", color=face, markeredgecolor="gray", clip_on=False)
            square.set_transform(axes.get_yaxis_transform())


def confusion(matrix: Tensor, class_names: Sequence[str]) -> Figure:
    """Draw a confusion matrix, normalised by the number of pixels of each class.

    Args:
        matrix: The numbers of pixels (K, K) of each class (row) that were predicted as each class (column).
        class_names: The names of the K classes.
    """
    shares = matrix.double() / matrix.sum(1, keepdim=True)
    side = 2 + 0.32 * len(class_names)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in zip(shares.nonzero().tolist(), shares[shares != 0].tolist(), strict=True):
        if share >= SHOWN_SHARE:
            color = "black" if share < 0.5 else "white"  # small shares are drawn in light blue
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=color)
    names = [_plain(name) for name in class_names]
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlabel("predicted class", fontsize=9)
    axes.set_ylabel("true class, in percent of its pixels", fontsize=9)
    return figure


def svg(figure: Figure) -> str:
    """Convert a figure to an SVG element that keeps text as text, in the page's own colour of text on no background."""
    page = StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(page, format="svg", metadata={"Date": None}, transparent=True)
    _, start, rest = page.getvalue().partition("<svg")
    return (start + rest).replace("#000000", "currentColor")
