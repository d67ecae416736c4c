"""Accuracy against the bytes of a run: one marker per method, one colour per family of them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
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

from ..configs import lookup
from ..figures import rendered
from ..markup import human_bytes
from ..theme import ALGORITHM_COLOURS, COLOURS, MARKERS
from .experiment import OF_A_METHOD, Cell, Experiment, merged_steps, panels
from .model import COMPLETED
from .numbers import Band, Measure, final_band, score
from .part import Choices, Part, Picture
from .traffic import upload

SHOWN = 3.5
"""Points below soba at which the vertical axis ends."""
_MOST = 24
"""Markers that can be told apart."""

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


@dataclass(frozen=True, eq=False)
class Point:
    """A method on the picture."""

    label: str
    family: str
    """Algorithm, feedback, and whether the way down is compressed too."""
    is_soba: bool
    accuracy: Band | None
    """In percent."""
    upload: float
    """Bytes that a worker uploads in a run; NaN if none has completed."""
    download: float
    """Bytes that it downloads."""
    notes: tuple[str, ...]
    """What the marker cannot show."""

    @property
    def total(self) -> float:
        """Bytes of both ways."""
        return self.upload + self.download


Bytes = Callable[[Point], float]
PANELS: tuple[tuple[str, Bytes], ...] = (
    ("uploaded per worker in one run", lambda point: point.upload),
    ("uploaded and downloaded per worker", lambda point: point.total),
)


def parts(experiment: Experiment, measure: Measure | None, _choices: Choices) -> list[Part]:
    """Needs accuracies, and two methods or more that upload something."""
    if measure is None or not measure.percent:
        return []
    cells = merged_steps(experiment.cells, experiment.step_axes, lambda c: score(c, measure))
    rest = [axis for axis in experiment.axes if not axis.startswith(OF_A_METHOD)]
    pictures = []
    for place, panel in enumerate(panels(cells, rest, most_lines=0), start=1):
        points = [point_of(cell, measure) for cell in panel.cells]
        shown = [point for point in points if point.accuracy and point.upload > 0]
        if len(shown) < 2 or len(points) > _MOST or floor_of(points) is None:
            continue
        image = rendered(lambda points=points: draw(points, measure))
        name = f"tradeoff-{place}" if panel.title else "tradeoff"
        where = f", {panel.title}" if panel.title else ""
        pictures.append(Picture(name, f"{measure.label} against bytes{where}", image))
    text = (
        "Markers are medians over the seeds, bars the 20 % to 80 % band. What lies further down "
        "stands on the lower edge, and the legend says where; markers that would cover one another "
        "are moved sideways."
    )
    return [Part("Accuracy against bytes", text, tuple(pictures))] if pictures else []


def point_of(cell: Cell, measure: Measure) -> Point:
    """The numbers of a cell's completed runs."""
    own = upload(cell)
    down = [
        float(run.download_bytes[-1]) / (run.n_workers or 1)
        for run in cell.completed
        if run.download_bytes is not None
    ]
    states = [member.state for member in cell.members]
    notes = []
    if states.count(COMPLETED) < len(states):
        notes.append(f"{states.count(COMPLETED)} of {len(states)} completed")
    return Point(
        label=cell.label,
        family=family(cell),
        is_soba=cell.kind == "soba",
        accuracy=final_band(cell, measure),
        upload=math.nan if own is None else own,
        download=float(np.median(down)) if down else 0.0,
        notes=tuple(notes),
    )


def family(cell: Cell) -> str:
    """Which methods share a colour: same algorithm, same feedback, same way down."""
    words = [cell.kind]
    feedback = lookup(cell.config, "feedback.kind")
    if feedback not in (None, "none"):
        words.append(str(feedback))
    downlink = lookup(cell.config, "downlink.kind")
    if downlink not in (None, "dense"):
        words.append(f"{downlink} down")
    return ", ".join(words)


def floor_of(points: Sequence[Point]) -> float | None:
    """Lowest accuracy [%] on the axis: methods further below stand on its edge."""
    known = [p.accuracy.median for p in points if p.accuracy and math.isfinite(p.accuracy.median)]
    if not known:
        return None
    top = next((p.accuracy for p in points if p.is_soba), None)
    best = top.median if top and math.isfinite(top.median) else max(known)
    lows = [p.accuracy.low for p in points if p.accuracy]
    return max(best - SHOWN, min(lows) - 0.1)


def draw(points: Sequence[Point], measure: Measure) -> Figure:
    """The figure: two panels with one vertical axis, and a legend of all methods below."""
    floor = floor_of(points) or 0.0
    legend_rows = [legend_text(point, floor) for point in points]
    columns = 2 if len(points) > 2 else 1
    per_column = -(-len(points) // columns)
    lines = max(
        sum(text.count("\n") + 1.25 for text in legend_rows[start : start + per_column])
        for start in range(0, len(points), per_column)
    )
    figure = Figure(
        figsize=(_WIDTH, _PANEL_HEIGHT + _LINE_HEIGHT * lines + 0.2),
        layout="constrained",
        facecolor="white",
    )
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08, wspace=0.03)
    grid = figure.subplots(1, len(PANELS), sharey=True)
    limits = floor, _ceiling(points, floor)
    for axes, (label, size) in zip(grid, PANELS, strict=True):
        _panel(axes, points, label, size, limits)
    grid[0].set_ylabel(measure.label)
    grid[0].set_ylim(limits)
    grid[0].yaxis.set_major_locator(MaxNLocator(7, steps=_STEPS))
    colours = _colours(points)
    handles = [_handle(index, colours[point.family]) for index, point in enumerate(points)]
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


def legend_text(point: Point, floor: float) -> str:
    """Label of a method, with what its marker cannot show."""
    accuracy, notes = point.accuracy, list(point.notes)
    if accuracy is not None and math.isfinite(accuracy.median) and accuracy.median < floor:
        notes.append(f"{accuracy.median:.1f} %, below the axis")
    text = f"{point.label} ({'; '.join(notes)})" if notes else point.label
    return "\n".join(textwrap.wrap(text, _LEGEND_WIDTH))


def _panel(
    axes: Axes,
    points: Sequence[Point],
    label: str,
    size: Bytes,
    limits: tuple[float, float],
) -> None:
    axes.set_xscale("log")
    axes.set_xlabel(label)
    sizes = [value for value in map(size, points) if value > 0]
    if not sizes:
        return
    wide = min(sizes) / 1.6, max(sizes) * 1.6
    axes.set_xlim(wide)
    _byte_ticks(axes)
    colours = _colours(points)
    places: list[tuple[float, float]] = []
    for index, point in enumerate(points):
        accuracy = point.accuracy
        if accuracy is None or not size(point) > 0:
            continue
        y = max(accuracy.median, limits[0])
        places.append(_free_place(_share(size(point), wide), y, limits, places))
        x = wide[0] * (wide[1] / wide[0]) ** places[-1][0]
        colour = colours[point.family]
        low = max(accuracy.low, limits[0])
        if accuracy.high > low:
            axes.plot([x, x], [low, accuracy.high], color=colour, linewidth=1.4, alpha=0.55)
        handle = _handle(index, colour)
        handle.set_data([x], [y])
        handle.set(clip_on=False, zorder=3)
        axes.add_line(handle)
    base = next((point for point in points if point.is_soba), None)
    if base is None or not size(base) > 0:
        return
    if base.accuracy and base.accuracy.median >= limits[0]:
        axes.axhline(base.accuracy.median, color="#888888", linewidth=1, dashes=(4, 3), zorder=1)
    _ratio_axis(axes, size(base))


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


def _ratio_axis(axes: Axes, full: float) -> None:
    """How many times fewer bytes than soba's, along the upper edge."""
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
    top.set_xlabel("times less than soba")


def _subs(axes: Axes) -> tuple[float, ...]:
    """Ticks of a decade: over less than two of them the powers of ten are too few."""
    low, high = axes.get_xlim()
    return (1.0,) if high / low > 100 else (1.0, 2.0, 5.0)


def _ceiling(points: Sequence[Point], floor: float) -> float:
    highest = max(
        (p.accuracy.high for p in points if p.accuracy and math.isfinite(p.accuracy.high)),
        default=floor + 1.0,
    )
    return highest + 0.06 * (highest - floor) + 0.02


def _colours(points: Sequence[Point]) -> dict[str, str]:
    """An algorithm by itself has its colour; families of variants take what is left."""
    names = dict.fromkeys(point.family for point in points)
    own = {name: ALGORITHM_COLOURS[name] for name in names if name in ALGORITHM_COLOURS}
    left = [colour for colour in COLOURS if colour not in own.values()] or list(COLOURS)
    others = (name for name in names if name not in own)
    return own | {name: left[i % len(left)] for i, name in enumerate(others)}


def _handle(index: int, colour: str) -> Line2D:
    return Line2D(
        [],
        [],
        color=colour,
        linestyle="none",
        marker=_MARKERS[index % len(_MARKERS)],
        markersize=_SIZES.get(_MARKERS[index % len(_MARKERS)], _SIZE),
        markeredgecolor="white",
        markeredgewidth=0.8,
    )
