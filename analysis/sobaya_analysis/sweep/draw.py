"""Drawing that the figures of a sweep share: grids of panels, rows with labels, legends, bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
)

from ..curves import SMALLEST
from ..markup import human_bytes
from ..theme import Style, algorithm_style, style_of
from .experiment import Cell
from .numbers import Band

ROW_HEIGHT = 0.3
_NOTE = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
LABEL_WIDTH = 0.085
"""Inches per letter of a row's label."""
GREY = "#777777"
_MOST_COLUMNS = 3
_LEGEND_LETTERS = 135
_LOG_SPAN = 20.0
_STEPS = (1, 2, 2.5, 5, 10)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, laid out so that nothing overlaps; inches."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08, wspace=0.03, hspace=0.04)
    return figure


def columns_of(count: int) -> int:
    """Columns of a grid of `count` panels."""
    return 2 if count == 4 else min(count, _MOST_COLUMNS)


def panel_grid(
    count: int, legend_lines: int, size: tuple[float, float] = (4.4, 3.3)
) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels with common axes, and room for a legend above them."""
    columns = columns_of(count)
    rows = -(-count // columns)
    width = max(columns * size[0], 6.5)
    figure = new_figure(width, rows * size[1] + 0.3 + 0.26 * legend_lines)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    cells = list(grid.flat)
    for index, axes in enumerate(cells):
        axes.tick_params(labelbottom=index + columns >= count, labelleft=index % columns == 0)
    for axes in cells[count:]:
        axes.set_visible(False)
    return figure, cells[:count]


def plain_text(axes: Axes, text: str) -> None:
    """Title of a panel, in which a $ is a $."""
    axes.set_title(text, fontsize=11, parse_math=False)


def styles_of(cells: Sequence[Cell]) -> list[Style]:
    """One style per cell: the algorithm's colour and marker, dashes by place among its cells.

    Where all methods have names, of which there may be many of one algorithm, each has its own.
    """
    if all(cell.name for cell in cells):
        return [style_of(cell.place) for cell in cells]
    kinds = [cell.kind for cell in cells]
    return [algorithm_style(kind, kinds[:index].count(kind)) for index, kind in enumerate(kinds)]


def entries_of(panels: Sequence[Sequence[Cell]]) -> dict[str, Style]:
    """Legend of a figure: the cells of a single panel, else the methods or algorithms of all."""
    if len(panels) == 1:
        cells = panels[0]
        return dict(zip([cell.label for cell in cells], styles_of(cells), strict=True))
    everything = [cell for cells in panels for cell in cells]
    if all(cell.name for cell in everything):
        return {cell.name: style_of(cell.place) for cell in everything}
    kinds = dict.fromkeys(cell.kind for cell in everything)
    return {kind: algorithm_style(kind) for kind in kinds}


def legend_shape(texts: Sequence[str], width: float) -> tuple[int, int]:
    """Columns and lines of a legend that fits a figure of this width [inches]."""
    longest = max((len(text) for text in texts), default=1)
    most = max(1, int(_LEGEND_LETTERS * width / 13.2) // (longest + 7))
    lines = -(-len(texts) // most)
    return -(-len(texts) // max(lines, 1)), lines


def add_legend(figure: Figure, entries: Mapping[str, Style], extra: Sequence[Line2D] = ()) -> None:
    """Legend above the panels; `extra` are handles with a label of their own."""
    handles = [
        Line2D(
            [],
            [],
            color=style.colour,
            linestyle=style.dashes,
            linewidth=1.9,
            marker=style.marker,
            markersize=6,
            markeredgecolor="white",
            markeredgewidth=0.7,
            label=text,
        )
        for text, style in entries.items()
    ]
    handles += extra
    texts = [str(handle.get_label()) for handle in handles]
    columns, _ = legend_shape(texts, figure.get_figwidth())
    legend = figure.legend(
        handles=handles, loc="outside upper center", ncols=columns, handlelength=3.0, fontsize=10.5
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def row_figure(
    labels: Sequence[str], panels: int, panel_width: float, below: float = 0.9
) -> tuple[Figure, list[Axes]]:
    """A figure with one row per label and `panels` panels side by side."""
    label_width = LABEL_WIDTH * max(len(label) for label in labels)
    width = max(label_width + 0.4 + panels * panel_width, 7.0)
    figure = new_figure(width, ROW_HEIGHT * max(len(labels), 3) + below)
    grid = list(figure.subplots(1, panels, sharey=True, squeeze=False)[0])
    grid[0].set_yticks(range(len(labels)))
    for tick in grid[0].set_yticklabels(labels, fontsize=10):
        tick.set_parse_math(False)
    grid[0].set_ylim(len(labels) - 0.4, -0.6)
    for axes in grid:
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
    return figure, grid


def byte_ticks(axis: Axis, low: float, high: float) -> None:
    """Ticks with units on a logarithmic axis of bytes."""
    subs = (1.0,) if high / low > 100 else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(subs=subs, numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: human_bytes(value)))
    axis.set_minor_locator(LogLocator(subs=range(2, 10), numticks=9))
    axis.set_minor_formatter(NullFormatter())


def log_ticks(axis: Axis, low: float, high: float) -> None:
    """Ticks of a logarithmic axis: over less than two decades also at 2 and 5."""
    if high / low > 100:
        axis.set_major_locator(LogLocator(numticks=8))
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def fixed_ticks(axis: Axis, values: Sequence[float]) -> None:
    """Ticks at the values that were run, and nowhere else."""
    axis.set_major_locator(FixedLocator(list(values)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def limits_of(bands: Sequence[Band], may_be_log: bool) -> tuple[float, float, bool]:
    """Lowest and highest place of an axis for all finite numbers of the bands, and its scale.

    It is logarithmic if it may be and positive numbers span more than a decade and a bit.
    """
    ends = [end for b in bands for end in (b.low, b.median, b.high) if math.isfinite(end)]
    if not ends:
        return 0.0, 1.0, False
    low, high = min(ends), max(ends)
    if may_be_log and low > SMALLEST and high / low > _LOG_SPAN:
        factor = max((high / low) ** 0.06, 1.1)
        return low / factor, high * factor, True
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin, False


def set_limits(axes: Axes, limits: tuple[float, float, bool]) -> None:
    """Give the vertical axis these limits and this scale."""
    low, high, logarithmic = limits
    if logarithmic:
        axes.set_yscale("log")
        log_ticks(axes.yaxis, low, high)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=_STEPS))
    axes.set_ylim(low, high)


def dot_row(axes: Axes, place: int, found: Band, style: Style) -> None:
    """Median as a marker, band as a bar, in the row `place`; the axis already has its limits."""
    low, high = axes.get_xlim()
    ends = [min(max(end, low), high) for end in (found.low, found.high)]
    axes.plot(ends, [place] * 2, color=style.colour, linewidth=3.5, alpha=0.35)
    axes.plot(
        [found.median],
        [place],
        color=style.colour,
        marker=style.marker,
        markersize=7.5,
        markeredgecolor="white",
        clip_on=False,
    )


def row_note(axes: Axes, place: int, note: str, x: float = 0.03) -> None:
    """Words in place of a marker; `x` is a share of the panel's width."""
    at = ("axes fraction", "data")
    axes.annotate(note, (x, place), xycoords=at, va="center", fontsize=9, color=GREY, bbox=_NOTE)


def line_with_band(
    axes: Axes, x: Sequence[float], bands: Sequence[Band], style: Style, edge: float
) -> None:
    """Medians as a line, band around it; medians that are infinite as crosses at `edge`."""
    known = [(a, b) for a, b in zip(x, bands, strict=True) if math.isfinite(b.median)]
    if known:
        at = [a for a, _ in known]
        low = [b.low if math.isfinite(b.low) else edge for _, b in known]
        high = [b.high if math.isfinite(b.high) else edge for _, b in known]
        if len(known) > 1:
            axes.fill_between(at, low, high, color=style.colour, alpha=0.14, lw=0)
        else:
            axes.vlines(at, low, high, color=style.colour, alpha=0.4, lw=3)
        axes.plot(
            at,
            [b.median for _, b in known],
            color=style.colour,
            linestyle=style.dashes,
            linewidth=1.9,
            marker=style.marker,
            markersize=6.5,
            markeredgecolor="white",
            markeredgewidth=0.7,
        )
    _crosses(axes, x, bands, style, edge)


def _crosses(
    axes: Axes, x: Sequence[float], bands: Sequence[Band], style: Style, edge: float
) -> None:
    lost = [a for a, b in zip(x, bands, strict=True) if not math.isfinite(b.median)]
    if not lost:
        return
    axes.plot(
        lost,
        [edge] * len(lost),
        color=style.colour,
        linestyle="none",
        marker="x",
        markersize=8,
        markeredgewidth=2,
        clip_on=False,
        zorder=4,
    )


def cross(label: str) -> Line2D:
    """Handle that says what a cross means."""
    return Line2D([], [], color=GREY, linestyle="none", marker="x", markersize=8, label=label)
