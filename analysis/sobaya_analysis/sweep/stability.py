"""The largest step size at which each method still trains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..configs import number
from ..figures import rendered
from ..theme import Style, algorithm_style
from .draw import (
    GREY,
    add_legend,
    columns_of,
    cross,
    entries_of,
    fixed_ticks,
    legend_shape,
    panel_grid,
    plain_text,
    row_figure,
    row_note,
    styles_of,
)
from .experiment import (
    STEPS,
    Cell,
    Experiment,
    is_number,
    panels,
    relabelled,
    values_of,
)
from .heatmap import short
from .labels import RATIO, VARIABLES, features
from .model import COMPLETED, DIVERGED, Member
from .numbers import Measure, band, final_band, start_band
from .part import Choices, Part, Picture, Table

_HOLLOW = "hollow: no larger one tried"
_ASIDE = 1.08
"""By how much the markers of two methods are set apart, so that both are seen."""


@dataclass(frozen=True, eq=False)
class Limit:
    """A method, and the largest step size of those that were run at which it trains."""

    cell: Cell
    """Its first cell."""
    largest: float | None
    """None if it trains at none."""
    tried: tuple[float, ...]
    """Step sizes at which a run has ended, in order."""

    @property
    def open_ended(self) -> bool:
        """Whether no larger step was tried, so that the true limit may lie higher."""
        return self.largest is not None and self.largest == self.tried[-1]


def step_axis(experiment: Experiment, choices: Choices) -> str | None:
    """The axis asked for, else the first step size that varies."""
    wanted = (choices.step,) if choices.step else STEPS
    return next((axis for axis in wanted if axis in experiment.axes), None)


def trains(cell: Cell, measure: Measure, best: float, margin: float) -> bool:
    """Whether the median seed trains.

    Accuracy: at most `margin` points below `best`, and better than at the start. Norms: better
    than at the start, if they were evaluated there, and the upper-level loss ends below where it
    began.
    """
    found = final_band(cell, measure)
    if found is None or not math.isfinite(found.median):
        return False
    start = start_band(cell, measure)
    better = start is None or measure.sign * (found.median - start.median) > 0
    if measure.percent:
        return better and found.median >= best - margin
    fallen = band(_descent(member) for member in cell.members)
    return better and fallen is not None and fallen.median < 0


def _descent(member: Member) -> float | None:
    """Mean upper-level loss of the last tenth of the rows less that of the first; inf if lost."""
    if member.state != COMPLETED or member.run is None:
        return math.inf if member.state == DIVERGED else None
    loss = member.run.upper_loss
    known = loss[~np.isnan(loss)]
    if len(known) < 2:
        return None
    return float(known[-max(len(known) // 10, 1) :].mean() - known[0])


def limits(experiment: Experiment, axis: str, measure: Measure, margin: float) -> list[Limit]:
    """One limit per method; methods differ in anything but the step sizes."""
    others = experiment.step_axes
    members: dict[tuple[str, ...], list[Cell]] = {}
    for cell in experiment.cells:
        rest = (
            cell.method,
            *(repr(v) for k, v in cell.settings.items() if k not in (*others, axis)),
        )
        members.setdefault(rest, []).append(cell)
    found = []
    for cells in members.values():
        ended = [c for c in cells if final_band(c, measure) and is_number(c.settings[axis])]
        if ended:
            best = max(b.median for b in (final_band(c, measure) for c in ended) if b)
            good = [c.settings[axis] for c in ended if trains(c, measure, best, margin)]
            tried = sorted({float(c.settings[axis]) for c in ended})
            found.append(Limit(ended[0], float(max(good)) if good else None, tuple(tried)))
    cells = relabelled([limit.cell for limit in found], without=[*others, axis])
    return [replace(limit, cell=cell) for limit, cell in zip(found, cells, strict=True)]


def parts(experiment: Experiment, measure: Measure | None, choices: Choices) -> list[Part]:
    """Needs a measure and a step size that varies."""
    axis = step_axis(experiment, choices)
    if measure is None or axis is None:
        return []
    found = limits(experiment, axis, measure, choices.margin)
    if not found:
        return []
    head = [("algorithm", "k"), ("ratio", "n"), ("compressed", ""), ("method", "")]
    head += [(f"largest {short(axis)}", "n"), ("tried", "n")]
    table = Table(head, [_cells(limit) for limit in found])
    rule = (
        f"its median final accuracy is at most {choices.margin:g} points below the best of the "
        "same method, and above that at the start"
        if measure.percent
        else "its median seed ends with a smaller norm and upper-level loss than it began with"
    )
    about = (
        f"The largest {short(axis)} of those tried at which a method still trains: {rule}. Hollow "
        "markers: no larger one was tried, so the limit may lie higher."
    )
    image = rendered(lambda: draw(experiment, found, axis))
    picture = Picture("stability", f"largest {short(axis)} that trains", image)
    return [Part("Stability", about, (picture,), table)]


def compressed(cell: Cell) -> str:
    """Which variables a method compresses."""
    return str(features(cell.config).get(VARIABLES, "none"))


def _cells(limit: Limit) -> list[str]:
    ratio = features(limit.cell.config).get(RATIO)
    largest = "none" if limit.largest is None else number(limit.largest)
    return [
        limit.cell.method,
        "\N{EN DASH}" if ratio is None else number(ratio),
        compressed(limit.cell),
        limit.cell.label,
        f"\N{GREATER-THAN OR EQUAL TO} {largest}" if limit.open_ended else largest,
        ", ".join(number(step) for step in limit.tried),
    ]


def draw(experiment: Experiment, found: Sequence[Limit], axis: str) -> Figure:
    """Over the ratio, if that varies; else one row per method."""
    ratios = [v for v in values_of([limit.cell for limit in found], RATIO) if is_number(v)]
    if len(ratios) < 2:
        return _rows(found, axis)
    return _over_ratio(experiment, found, axis, ratios)


def _scale(found: Sequence[Limit]) -> tuple[list[float], float, float]:
    """Steps tried, and the ends of their axis; the lower one is the place of "none"."""
    steps = sorted({step for limit in found for step in limit.tried})
    factor = (steps[-1] / steps[0]) ** (1 / max(len(steps) - 1, 1)) if len(steps) > 1 else 2.0
    return steps, steps[0] / factor, steps[-1] * factor**0.6


def _rows(found: Sequence[Limit], axis: str) -> Figure:
    figure, (axes,) = row_figure([limit.cell.label for limit in found], 1, 6.0)
    steps, low, high = _scale(found)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    fixed_ticks(axes.xaxis, steps)
    for place, limit in enumerate(found):
        style = algorithm_style(limit.cell.kind)
        axes.axhline(place, color="#eeeeee", linewidth=0.8, zorder=0)
        if limit.largest is None:
            row_note(axes, place, "none", 0.01)
            continue
        axes.plot([low, limit.largest], [place] * 2, color=style.colour, linewidth=2)
        face = "white" if limit.open_ended else style.colour
        axes.plot(
            [limit.largest],
            [place],
            color=style.colour,
            marker=style.marker,
            markersize=8,
            markerfacecolor=face,
        )
    axes.set_xlabel(f"largest {short(axis)} that trains")
    return figure


def _over_ratio(
    experiment: Experiment, found: Sequence[Limit], axis: str, ratios: Sequence[float]
) -> Figure:
    rest = [key for key in experiment.axes if key not in (RATIO, axis, *experiment.step_axes)]
    lines: dict[tuple[str, ...], list[Limit]] = {}
    for limit in found:
        settings = limit.cell.settings
        lines.setdefault((limit.cell.method, *(repr(settings[key]) for key in rest)), []).append(
            limit
        )
    heads = relabelled([line[0].cell for line in lines.values()], without=[RATIO, axis, *STEPS])
    by_cell = dict(zip(heads, lines.values(), strict=True))
    split = panels(heads, rest)
    entries = entries_of([panel.cells for panel in split])
    extra = [
        Line2D([], [], color=GREY, linestyle="none", marker="o", mfc="white", label=_HOLLOW),
        cross("trains at none"),
    ]
    size = (7.2, 4.4) if len(split) == 1 else (4.4, 3.4)
    _, n_lines = legend_shape([*entries, _HOLLOW, ""], size[0] * columns_of(len(split)))
    figure, grid = panel_grid(len(split), n_lines, size)
    steps, low, high = _scale(found)
    for axes, panel in zip(grid, split, strict=True):
        plain_text(axes, panel.title)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(low / 1.15, high)
        fixed_ticks(axes.xaxis, ratios)
        fixed_ticks(axes.yaxis, steps)
        for place, (cell, style) in enumerate(
            zip(panel.cells, styles_of(panel.cells), strict=True)
        ):
            # The limits are few values that many methods share: a little aside, all can be seen.
            aside = _ASIDE ** (place - (len(panel.cells) - 1) / 2)
            _limit_line(axes, by_cell[cell], style, aside, (ratios[0], ratios[-1], low))
    figure.supxlabel("compression ratio", fontsize=12)
    figure.supylabel(f"largest {short(axis)} that trains", fontsize=12)
    add_legend(figure, entries, extra)
    return figure


def _limit_line(
    axes: Axes,
    limits: Sequence[Limit],
    style: Style,
    aside: float,
    ends: tuple[float, float, float],
) -> None:
    """The limits of one method over the ratio; `ends` are the ratios' and the place of none."""
    for limit in limits:
        # A method without a ratio, such as soba, has the same limit everywhere.
        if not is_number(limit.cell.settings[RATIO]) and limit.largest is not None:
            axes.plot(
                ends[:2],
                [limit.largest] * 2,
                color=style.colour,
                linewidth=1.6,
                linestyle=(0, (5, 2)),
                marker=style.marker,
                markersize=8,
                markerfacecolor="white" if limit.open_ended else style.colour,
            )
    known = [limit for limit in limits if is_number(limit.cell.settings[RATIO])]
    known.sort(key=lambda limit: limit.cell.settings[RATIO])
    x = [limit.cell.settings[RATIO] * aside for limit in known]
    y = [ends[2] if limit.largest is None else limit.largest * aside for limit in known]
    axes.plot(x, y, color=style.colour, linestyle=style.dashes, linewidth=1.4, alpha=0.8)
    for at, height, limit in zip(x, y, known, strict=True):
        marker = "x" if limit.largest is None else style.marker
        face = "white" if limit.open_ended else style.colour
        axes.plot([at], [height], color=style.colour, marker=marker, markersize=7, mfc=face)
