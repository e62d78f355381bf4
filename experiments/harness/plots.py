"""What the plots of all experiments share: readable at a width of 700 pixels, and safe for the colour-blind."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from experiments.models.families import STYLES, Style

#: Inches: 700 pixels on a page.
WIDTH, HEIGHT = 7.3, 3.7
#: Markers on a learning curve.
MARKERS = 6


def panels(
    number: int,
    widths: Sequence[float] | None = None,
    styles: Mapping[str, Style] = STYLES,
    heights: Sequence[float] | None = None,
) -> tuple[Figure, list[Axes]]:
    """A figure outside pyplot with the families' names on top, and its axes.

    Args:
        number: of the axes.
        widths: ratios, for axes from left to right.
        styles: of the families.
        heights: ratios, for axes from top to bottom with one x axis.
    """
    if heights:
        figure = Figure(figsize=(WIDTH, 1.3 * HEIGHT), layout="constrained")
        axes = figure.subplots(number, 1, squeeze=False, height_ratios=heights, sharex=True)[:, 0]
    else:
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        axes = figure.subplots(1, number, squeeze=False, width_ratios=widths)[0]
    for each in axes:
        each.grid(alpha=0.3)
        each.spines[["top", "right"]].set_visible(False)
        each.title.set_fontsize("medium")
    names = [
        Line2D([], [], color=colour, marker=marker, markersize=5, label=family)
        for family, (colour, marker) in styles.items()
    ]
    figure.legend(handles=names, loc="outside upper center", ncols=len(names), frameon=False)
    return figure, list(axes)


def line(axes: Axes, style: Style, numbers: Sequence[float], shares: Sequence[float], markevery: int = 1) -> None:
    """Shares in per cent against numbers, in the colour and marker of a family."""
    colour, marker = style
    percents = [100 * share for share in shares]
    axes.plot(
        numbers, percents, color=colour, marker=marker, markevery=markevery, markersize=4, linewidth=1.2, alpha=0.8
    )
    axes.set_ylim(-3, 103)


def learning_curve(axes: Axes, style: Style, steps: Sequence[int], shares: Sequence[float]) -> None:
    """Shares in per cent against steps; only some have a marker."""
    line(axes, style, steps, shares, markevery=max(1, len(steps) // MARKERS))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def dot(axes: Axes, style: Style, x: float, y: float, is_open: bool = False) -> None:
    """A run as one marker of its family."""
    colour, marker = style
    face = "none" if is_open else colour
    axes.plot([x], [y], linestyle="", marker=marker, color=colour, markerfacecolor=face, markersize=6, alpha=0.8)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
