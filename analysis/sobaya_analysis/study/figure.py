"""Draw test accuracy against the bytes of a run: one marker per method, one colour per family."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    FixedFormatter,
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
)

from ..figures import images
from ..markup import human_bytes
from ..theme import COLOURS, MARKERS, MATPLOTLIB
from .results import MethodResult

SHOWN = 3.5
"""Points below the reference at which the vertical axis ends."""

_MARKERS = (*MARKERS, "<", ">", "p", "h", "d", "H")
_LEGEND_WIDTH = 68
_WIDTH = 12.5
_PANEL_HEIGHT = 4.6
_LINE_HEIGHT = 0.2
_STEPS = (1, 2, 2.5, 5, 10)
_SIZES = {"*": 13.0}
_SIZE = 9.5
_MARKER_SHARES = (0.027, 0.044)
"""About the width and height of a marker as shares of a panel."""

Bytes = Callable[[MethodResult], float]
PANELS: tuple[tuple[str, Bytes], ...] = (
    ("uploaded in one run, all workers", lambda result: result.upload),
    ("uploaded and downloaded", lambda result: result.total),
)


def tradeoff(results: Sequence[MethodResult], reference: str) -> dict[str, bytes] | None:
    """The picture as {"png": .., "svg": ..}; None if no method has an accuracy."""
    if floor_of(results, reference) is None:
        return None
    with mpl.rc_context(MATPLOTLIB):
        return images(draw(results, reference))


def floor_of(results: Sequence[MethodResult], reference: str) -> float | None:
    """Lowest accuracy [%] on the axis: methods further below stand on its edge."""
    known = [r.accuracy.median for r in results if r.accuracy and math.isfinite(r.accuracy.median)]
    if not known:
        return None
    top = next((r.accuracy for r in results if r.method.name == reference), None)
    best = top.median if top and math.isfinite(top.median) else max(known)
    lows = [r.accuracy.low for r in results if r.accuracy]
    return max(best - SHOWN, min(lows) - 0.1)


def draw(results: Sequence[MethodResult], reference: str) -> Figure:
    """The figure: two panels with one vertical axis, and a legend of all methods below."""
    floor = floor_of(results, reference) or 0.0
    legend_rows = [legend_text(result, floor) for result in results]
    columns = 2 if len(results) > 2 else 1
    per_column = -(-len(results) // columns)
    lines = max(
        sum(text.count("\n") + 1.25 for text in legend_rows[start : start + per_column])
        for start in range(0, len(results), per_column)
    )
    figure = Figure(
        figsize=(_WIDTH, _PANEL_HEIGHT + _LINE_HEIGHT * lines + 0.2),
        layout="constrained",
        facecolor="white",
    )
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08, wspace=0.03)
    panels = figure.subplots(1, len(PANELS), sharey=True)
    limits = floor, _ceiling(results, floor)
    for axes, (label, size) in zip(panels, PANELS, strict=True):
        _panel(axes, results, reference, label, size, limits)
    panels[0].set_ylabel("test accuracy [%]")
    panels[0].set_ylim(limits)
    panels[0].yaxis.set_major_locator(MaxNLocator(7, steps=_STEPS))
    families = _families(results)
    handles = [_handle(index, families[r.family]) for index, r in enumerate(results)]
    legend = figure.legend(
        handles,
        legend_rows,
        loc="outside lower center",
        ncols=columns,
        fontsize=9.5,
        labelspacing=0.45,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def legend_text(result: MethodResult, floor: float) -> str:
    """Label of a method, with what its marker cannot show."""
    accuracy = result.accuracy
    notes = []
    if result.completed < len(result.runs):
        notes.append(f"{len(result.runs) - result.completed} of {len(result.runs)} diverged")
    if accuracy is not None and math.isfinite(accuracy.median) and accuracy.median < floor:
        notes.append(f"{accuracy.median:.1f} %, below the axis")
    text = f"{result.method.label} ({'; '.join(notes)})" if notes else result.method.label
    return "\n".join(textwrap.wrap(text, _LEGEND_WIDTH))


def _panel(
    axes: Axes,
    results: Sequence[MethodResult],
    reference: str,
    label: str,
    size: Bytes,
    limits: tuple[float, float],
) -> None:
    axes.set_xscale("log")
    axes.set_xlabel(label)
    sizes = [value for value in map(size, results) if value > 0]
    if not sizes:
        return
    wide = min(sizes) / 1.6, max(sizes) * 1.6
    axes.set_xlim(wide)
    _byte_ticks(axes)
    families = _families(results)
    places: list[tuple[float, float]] = []
    for index, result in enumerate(results):
        accuracy = result.accuracy
        if accuracy is None or not size(result) > 0:
            continue
        y = max(accuracy.median, limits[0])
        places.append(_free_place(_share(size(result), wide), y, limits, places))
        x = wide[0] * (wide[1] / wide[0]) ** places[-1][0]
        colour = COLOURS[families[result.family] % len(COLOURS)]
        low = max(accuracy.low, limits[0])
        if accuracy.high > low:
            axes.plot([x, x], [low, accuracy.high], color=colour, linewidth=1.4, alpha=0.55)
        handle = _handle(index, families[result.family])
        handle.set_data([x], [y])
        handle.set(clip_on=False, zorder=3)
        axes.add_line(handle)
    base = next((result for result in results if result.method.name == reference), None)
    if base is None or not size(base) > 0:
        return
    if base.accuracy and base.accuracy.median >= limits[0]:
        axes.axhline(base.accuracy.median, color="#888888", linewidth=1, dashes=(4, 3), zorder=1)
    _ratio_axis(axes, size(base), reference)


def _share(value: float, limits: tuple[float, float]) -> float:
    """Place on a logarithmic axis, from 0 to 1."""
    return math.log(value / limits[0]) / math.log(limits[1] / limits[0])


def _free_place(
    x: float, y: float, limits: tuple[float, float], taken: Sequence[tuple[float, float]]
) -> tuple[float, float]:
    """(x, y) as shares of the axes, moved sideways until it covers no marker placed before."""
    height = (y - limits[0]) / (limits[1] - limits[0])
    steps = sorted(range(-2 * len(taken), 2 * len(taken) + 1), key=abs)

    def is_free(place: float) -> bool:
        return all(
            abs(place - other) >= 0.99 * _MARKER_SHARES[0] or abs(height - up) >= _MARKER_SHARES[1]
            for other, up in taken
        )

    places = (x + step * _MARKER_SHARES[0] for step in steps)
    return next(place for place in places if is_free(place)), height


def _byte_ticks(axes: Axes) -> None:
    axes.xaxis.set_major_locator(LogLocator(subs=_subs(axes), numticks=9))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: human_bytes(value)))
    axes.xaxis.set_minor_locator(LogLocator(subs=range(2, 10), numticks=9))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _ratio_axis(axes: Axes, full: float, reference: str) -> None:
    """How many times fewer bytes than the reference's, along the upper edge."""
    low, high = axes.get_xlim()
    decades = range(math.floor(math.log10(full / high)), math.ceil(math.log10(full / low)) + 1)
    ratios = [sub * 10.0**decade for decade in decades for sub in _subs(axes)]
    ratios = [ratio for ratio in ratios if low <= full / ratio <= high]
    top = axes.twiny()
    top.set_xscale("log")
    top.set_xlim(low, high)
    top.grid(False)
    top.xaxis.set_major_locator(FixedLocator([full / ratio for ratio in ratios]))
    top.xaxis.set_major_formatter(FixedFormatter([f"{ratio:,g}" for ratio in ratios]))
    top.xaxis.set_minor_locator(NullLocator())
    top.set_xlabel(f"times less than {reference}")


def _subs(axes: Axes) -> tuple[float, ...]:
    """Ticks of a decade: over less than two of them the powers of ten are too few."""
    low, high = axes.get_xlim()
    return (1.0,) if high / low > 100 else (1.0, 2.0, 5.0)


def _ceiling(results: Sequence[MethodResult], floor: float) -> float:
    highest = max(
        (r.accuracy.high for r in results if r.accuracy and math.isfinite(r.accuracy.high)),
        default=floor + 1.0,
    )
    return highest + 0.06 * (highest - floor) + 0.02


def _families(results: Sequence[MethodResult]) -> dict[str, int]:
    return {
        name: index for index, name in enumerate(dict.fromkeys(result.family for result in results))
    }


def _handle(index: int, family: int) -> Line2D:
    return Line2D(
        [],
        [],
        color=COLOURS[family % len(COLOURS)],
        linestyle="none",
        marker=_MARKERS[index % len(_MARKERS)],
        markersize=_SIZES.get(_MARKERS[index % len(_MARKERS)], _SIZE),
        markeredgecolor="white",
        markeredgewidth=0.8,
    )
