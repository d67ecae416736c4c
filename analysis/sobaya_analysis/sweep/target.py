"""Bytes that a worker uploads until a target is reached."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from ..figures import rendered
from ..theme import algorithm_style
from . import text
from .draw import GREY, byte_ticks, row_figure, row_note
from .experiment import Cell, Experiment, merged_steps, reference
from .numbers import Band, Measure, band, bytes_for_value, final_band, score, start_band
from .part import Choices, Part, Picture, Table

POINTS_BELOW = 1.0
"""The default target of an accuracy lies so many points below the baseline."""
TIMES_ABOVE = 2.0
"""The default target of a norm is so many times the baseline's."""


@dataclass(frozen=True, eq=False)
class Row:
    """A cell, its target, the bytes of its seeds until then, and how many of them got there."""

    cell: Cell
    target: float
    bytes: Band
    reached: int


def default_target(cell: Cell, cells: Sequence[Cell], measure: Measure) -> float | None:
    """One point of accuracy less than the final median of soba on the same problem and data.

    For a norm, twice that. Without such a soba the best cell takes its place; None if no run of
    it has ended well.
    """
    base = reference(cell, cells)
    best = max(score(other, measure) for other in ([base] if base else cells))
    if not math.isfinite(best):
        return None
    return best - POINTS_BELOW if measure.percent else TIMES_ABOVE * -best


def rows(cells: Sequence[Cell], measure: Measure, given: float | None) -> list[Row]:
    """Bytes to the target, given or by default, of all cells with a run that has ended.

    A default that a cell begins with says nothing of it: such cells are left out.
    """
    found = []
    for cell in cells:
        target = default_target(cell, cells, measure) if given is None else given
        if target is None or (given is None and _begins_with(cell, target, measure)):
            continue
        sizes = [bytes_for_value(member, measure, target) for member in cell.members]
        known = [size for size in sizes if size is not None]
        spread = band(known)
        if spread is not None:
            found.append(Row(cell, target, spread, sum(math.isfinite(size) for size in known)))
    return found


def _begins_with(cell: Cell, target: float, measure: Measure) -> bool:
    """Whether the median seed has reached the target before its first iteration."""
    start = start_band(cell, measure)
    return start is not None and measure.sign * (start.median - target) >= 0


def parts(experiment: Experiment, measure: Measure | None, choices: Choices) -> list[Part]:
    """Needs a measure, a target and a run that has ended."""
    if measure is None:
        return []
    cells = merged_steps(experiment.cells, experiment.step_axes, lambda c: score(c, measure))
    given = choices.targets.get(experiment.sweep.name, choices.targets.get(""))
    if given is not None and measure.percent:
        given *= 100
    found = rows(cells, measure, given)
    if not found:
        return []
    why = "the given one" if given is not None else _rule(cells, measure)
    goals = {row.target for row in found}
    goal = f"a {measure.label.removesuffix(' [%]')} of "
    if len(goals) == 1:
        goal += text.value(goals.pop(), measure) + (" %" if measure.percent else "")
    else:
        goal += why
    pictures = ()
    if any(math.isfinite(row.bytes.median) for row in found):
        image = rendered(lambda: draw(found, goal))
        pictures = (Picture("bytes-to-target", f"bytes until {goal}", image),)
    head = [("method", "k"), (f"target: {measure.label}", "n"), ("uploaded per worker", "n")]
    head += [("times less than soba", "n"), ("seeds that reach it", "n"), ("final", "n")]
    table = Table(head, [_cells(row, found, measure) for row in found])
    about = (
        f"Bytes that a worker has uploaded when the target ({why}) is first reached, linear "
        "between evaluations. Bars are medians over the seeds, whiskers the 20 % to 80 % band; "
        "a seed that does not get there counts as infinite."
    )
    return [Part("Bytes to a target", about, pictures, table)]


def _rule(cells: Sequence[Cell], measure: Measure) -> str:
    whose = "soba's" if any(cell.kind == "soba" for cell in cells) else "the best"
    if measure.percent:
        return f"{whose} final median less {POINTS_BELOW:g} point"
    return f"{TIMES_ABOVE:g} times {whose} final median"


def _cells(row: Row, found: Sequence[Row], measure: Measure) -> list[str]:
    cells = [other.cell for other in found]
    base = next((other for other in found if other.cell is reference(row.cell, cells)), None)
    less = base.bytes.median / row.bytes.median if base and row.bytes.median > 0 else None
    return [
        row.cell.label,
        text.value(row.target, measure),
        text.sizes(row.bytes),
        text.times(less),
        f"{row.reached} of {row.bytes.n}",
        text.spread(final_band(row.cell, measure), measure),
    ]


def draw(found: Sequence[Row], goal: str) -> Figure:
    """Horizontal bars on a logarithmic axis of bytes until `goal`."""
    figure, (axes,) = row_figure([row.cell.label for row in found], 1, 6.0)
    ends = [end for row in found for end in (row.bytes.low, row.bytes.median, row.bytes.high)]
    ends = [end for end in ends if math.isfinite(end) and end > 0]
    low, high = (min(ends) / 2.0, max(ends) * 3.0) if ends else (1.0, 10.0)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    byte_ticks(axes.xaxis, low, high)
    for place, row in enumerate(found):
        found_bytes = row.bytes
        if not math.isfinite(found_bytes.median):
            row_note(axes, place, f"not reached ({row.reached} of {found_bytes.n} seeds)", 0.01)
            continue
        colour = algorithm_style(row.cell.kind).colour
        axes.barh(place, max(found_bytes.median, low) - low, left=low, height=0.66, color=colour)
        right = found_bytes.high if math.isfinite(found_bytes.high) else high
        if right > found_bytes.low:
            axes.plot([max(found_bytes.low, low), right], [place] * 2, color=GREY, linewidth=1.6)
        value = f" {text.size(found_bytes.median)}"
        axes.text(right, place, value, va="center", fontsize=9, color=GREY)
        if not math.isfinite(found_bytes.high):
            axes.plot([high / 1.02], [place], color=GREY, marker=">", markersize=7, clip_on=False)
    axes.set_xlabel(textwrap.fill(f"uploaded per worker until {goal}", 56))
    return figure
