"""Draw the overview figure of a section: metrics in rows, horizontal axes in columns."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import AutoMinorLocator, FuncFormatter, LogLocator, MaxNLocator

from .curves import (
    AXES,
    METRICS,
    SMALLEST,
    Axis,
    Curve,
    Metric,
    has_data,
    median_curve,
    series,
    thin,
)
from .group import Group, Section
from .runs import Floats
from .theme import MATPLOTLIB, Style, style_of

_DPI = {"png": 160, "svg": 80}
"""Resolution; in an SVG of the raw lines alone, which are the bulk of the file."""
_MAX_POINTS = 600
_MAX_POINTS_IN_ALL = 2_500
"""Points of all curves of a panel together: SVG grows with them."""
_MAX_MARKERS = 12
_MAX_RAW_GROUPS = 8
_LOG_SPAN = 30.0
_STEPS = (1, 2, 2.5, 5, 10)


def visible_metrics(section: Section) -> tuple[Metric, ...]:
    """Metrics of which at least one run of the section has a finite value."""
    return tuple(metric for metric in METRICS if has_data(section.runs, metric))


def shows_raw(section: Section) -> bool:
    """Whether raw mini-batch values are drawn: not if they would bury the lines."""
    return len(section.groups) <= _MAX_RAW_GROUPS


def overview(
    section: Section,
    styles: Sequence[Style] | None = None,
    metrics: Sequence[Metric] | None = None,
) -> dict[str, bytes] | None:
    """The section's figure as {"png": .., "svg": ..}; None if no run has any metric.

    `styles` has one entry per group; without it groups look as their place says. `metrics` are
    the rows, by default all that the runs have.
    """
    metrics = visible_metrics(section) if metrics is None else metrics
    if not metrics:
        return None
    if styles is None:
        styles = [style_of(index) for index in range(len(section.groups))]
    return rendered(lambda: _draw(section, metrics, styles))


def rendered(draw: Callable[[], Figure]) -> dict[str, bytes]:
    """The figure that `draw` makes in the report's look, as {"png": .., "svg": ..}."""
    with mpl.rc_context(MATPLOTLIB), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        return images(draw())


def images(figure: Figure) -> dict[str, bytes]:
    """A figure as {"png": .., "svg": ..}, the same bytes for the same figure."""
    found = {}
    for kind in ("png", "svg"):
        out = io.BytesIO()
        metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(out, format=kind, dpi=_DPI[kind], metadata=metadata)
        found[kind] = out.getvalue()
    return found


def _draw(section: Section, metrics: Sequence[Metric], styles: Sequence[Style]) -> Figure:
    legend_columns, legend_rows = legend_grid([_legend_text(g) for g in section.groups])
    height = 3.0 * len(metrics) + 0.7 + 0.27 * legend_rows
    figure = Figure(figsize=(13.5, height), layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08, wspace=0.02, hspace=0.02)
    grid = figure.subplots(len(metrics), len(AXES), sharex="col", sharey="row", squeeze=False)
    for row, metric in zip(grid, metrics, strict=True):
        curves = [[median_curve(g.runs, metric, axis) for axis in AXES] for g in section.groups]
        logarithmic = _set_vertical(row[0], metric, [c for line in curves for c in line])
        for column, (axes, axis) in enumerate(zip(row, AXES, strict=True)):
            for index, (group, style) in enumerate(zip(section.groups, styles, strict=True)):
                if metric.noisy and shows_raw(section):
                    _draw_raw(axes, group, metric, axis, style)
                _draw_curve(axes, curves[index][column], style, index, len(section.groups))
            if logarithmic:
                axes.yaxis.set_minor_locator(mpl.ticker.NullLocator())
    for column, axis in enumerate(AXES):
        _set_horizontal(grid[:, column], axis, section, metrics)
    figure.align_ylabels(grid[:, 0])
    _add_legend(figure, section.groups, styles, legend_columns)
    return figure


def _draw_curve(axes: Axes, curve: Curve, style: Style, index: int, count: int) -> None:
    if len(curve) == 0:
        return
    at = thin(len(curve), min(_MAX_POINTS, _MAX_POINTS_IN_ALL // count))
    if curve.n > 1:
        axes.fill_between(
            curve.x[at], curve.low[at], curve.high[at], color=style.colour, alpha=0.16, lw=0
        )
    every = (0.14 * index / count, 0.14) if len(at) > _MAX_MARKERS else None
    axes.plot(
        curve.x[at],
        curve.median[at],
        color=style.colour,
        linestyle=style.dashes,
        linewidth=1.9,
        marker=style.marker,
        markersize=5.5,
        markeredgecolor="white",
        markeredgewidth=0.7,
        markevery=every,
    )


def _draw_raw(axes: Axes, group: Group, metric: Metric, axis: Axis, style: Style) -> None:
    for run in group.runs:
        _, x, y = series(run, metric, axis)
        at = thin(len(x), _MAX_POINTS)
        axes.plot(
            x[at],
            y[at],
            color=style.colour,
            alpha=0.2 / np.sqrt(len(group.runs)),
            linewidth=0.6,
            rasterized=True,
            zorder=1,
        )


def _set_vertical(axes: Axes, metric: Metric, curves: Iterable[Curve]) -> bool:
    """Label, scale and limits from medians and bands, not from raw noise. True if logarithmic."""
    axes.set_ylabel(metric.label)
    values = values_within(metric, curves)
    if values.size == 0:
        return False
    low, high = float(values.min()), float(values.max())
    positive = values[values > SMALLEST]
    wide = low > SMALLEST and high / low > _LOG_SPAN
    if positive.size and (metric.log or wide):
        axes.set_yscale("log")
        low = float(positive.min())
        margin = max((high / low) ** 0.05, 1.1)
        axes.set_ylim(low / margin, high * margin)
        return True
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_ylim(low - margin, high + margin)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=_STEPS))
    return False


def values_within(metric: Metric, curves: Iterable[Curve]) -> Floats:
    """Medians and bands that the vertical limits hold, one after the other.

    Beside curves most of whose runs stay finite, those of runs that diverge leave the figure, and
    so do bands with such runs.
    """
    shown = []
    drawn = [curve for curve in curves if len(curve)]
    finite = [curve for curve in drawn if 2 * curve.diverged < curve.n]
    for curve in finite or drawn:
        after = slice(1 if metric.learnt and len(curve) > 2 else 0, None)
        bands = () if finite and curve.diverged else (curve.low, curve.high)
        shown += [part[after] for part in (curve.median, *bands)]
    values = np.concatenate(shown) if shown else np.empty(0)
    return values[np.isfinite(values)]


def _set_horizontal(
    column: Sequence[Axes], axis: Axis, section: Section, metrics: Sequence[Metric]
) -> None:
    last = column[-1]
    last.set_xlabel(axis.label)
    limits = horizontal_limits(axis, section, metrics)
    if axis.log and limits is not None:
        last.set_xscale("log")
        last.set_xlim(limits[0] / 1.15, limits[1] * 1.15)
        last.xaxis.set_major_locator(LogLocator(numticks=7))
        last.xaxis.set_minor_locator(LogLocator(subs=range(2, 10), numticks=7))
        last.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    elif limits is not None:
        width = limits[1] - limits[0] or 1.0
        last.set_xlim(limits[0] - 0.02 * width, limits[1] + 0.03 * width)
        last.xaxis.set_major_locator(MaxNLocator(5, steps=_STEPS))
        last.xaxis.set_minor_locator(AutoMinorLocator(2))
        last.xaxis.set_major_formatter(FuncFormatter(_thousands))


def horizontal_limits(
    axis: Axis, section: Section, metrics: Sequence[Metric]
) -> tuple[float, float] | None:
    """Range of x over all rows of the figure.

    A logarithmic axis begins where the first run has its first evaluation after the start:
    before that there is nothing but the first few mini-batches, over several decades.
    """
    starts, stops = [], []
    for metric in metrics:
        for group in section.groups:
            for run in group.runs:
                _, x, _ = series(run, metric, axis)
                if len(x):
                    starts.append((metric.noisy, float(x[0])))
                    stops.append(float(x[-1]))
    if not stops:
        return None
    evaluated = [start for noisy, start in starts if not noisy]
    if axis.log and evaluated:
        return min(evaluated), max(stops)
    return min(start for _, start in starts), max(stops)


def _thousands(value: float, _position: int | None) -> str:
    return f"{value:,.0f}".replace(",", "\N{THIN SPACE}") if abs(value) >= 1e4 else f"{value:g}"


def _legend_text(group: Group) -> str:
    return f"{group.label} (n = {len(group.runs)})"


def legend_grid(texts: Sequence[str]) -> tuple[int, int]:
    """Columns and rows of a legend that fits the width of the figure."""
    longest = max(len(text) for text in texts)
    most = max(1, 145 // (longest + 11))
    rows = -(-len(texts) // most)
    columns = -(-len(texts) // rows)
    return columns, -(-len(texts) // columns)


def _add_legend(
    figure: Figure, groups: Sequence[Group], styles: Sequence[Style], columns: int
) -> None:
    handles = []
    for style in styles:
        handles.append(
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
            )
        )
    texts = [" " + _legend_text(group) for group in groups]
    legend = figure.legend(
        handles, texts, loc="outside upper center", ncols=columns, handlelength=3.4, fontsize=11
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
