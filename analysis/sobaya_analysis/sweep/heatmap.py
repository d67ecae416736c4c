"""Final values over two axes, such as compression ratio and step size, for each algorithm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from ..configs import number
from ..figures import rendered
from .draw import columns_of, new_figure, plain_text
from .experiment import (
    STEPS,
    Cell,
    Experiment,
    merged_steps,
    relabelled,
    sort_key,
)
from .labels import RATIO
from .model import DIVERGED, FAILED
from .numbers import Measure, final_band, score
from .part import Choices, Part, Picture
from .text import best_steps

_COLOURS = "cividis"
"""Equally even in lightness for all kinds of colour vision."""
_SPAN = 20.0
_POINTS = 25.0


@dataclass(frozen=True, eq=False)
class Map:
    """Final medians of one panel; arrays have shape (rows, columns)."""

    title: str
    rows: tuple[Any, ...]
    columns: tuple[Any, ...]
    values: NDArray[np.float64]
    """NaN where nothing has ended, infinite where the median seed diverged."""
    marks: NDArray[np.str_]
    """How many seeds diverged or failed, in words; empty if none did."""


def axis_pair(experiment: Experiment, choices: Choices) -> tuple[str, str] | None:
    """The axes of the map: those given, else the first two of ratio and step sizes that vary."""
    free = [axis for axis in (RATIO, *STEPS) if axis not in (choices.rows, choices.columns)]
    free = [axis for axis in free if axis in experiment.axes]
    rows = choices.rows or next(iter(free), None)
    columns = choices.columns or next((axis for axis in free if axis != rows), None)
    if rows is None or columns is None or not {rows, columns} <= set(experiment.axes):
        return None
    return (rows, columns) if rows != columns else None


def axis_values(cells: Sequence[Cell], axis: str) -> list[Any]:
    """Values of an axis: None first if a method lacks the key, numbers, texts in the sweep's order.

    Of texts, such as topologies, those who made the sweep know the order.
    """
    found = {repr(cell.settings[axis]): cell.settings[axis] for cell in cells}
    return sorted(found.values(), key=lambda value: sort_key(value)[:2])


def maps(experiment: Experiment, rows: str, columns: str, measure: Measure) -> list[Map]:
    """One map per algorithm and setting of the other axes; other step sizes at their best."""
    others = [axis for axis in experiment.step_axes if axis not in (rows, columns)]
    cells = merged_steps(experiment.cells, others, lambda cell: score(cell, measure))
    without = (rows, columns, *others)
    rest = [axis for axis in experiment.axes if axis not in without]
    across = axis_values(cells, columns)
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        key = (cell.method, *(repr(cell.settings[axis]) for axis in rest))
        groups.setdefault(key, []).append(cell)
    heads = relabelled([inside[0] for inside in groups.values()], without=without)
    return [
        _map(head.label, inside, (rows, axis_values(inside, rows)), (columns, across), measure)
        for head, inside in zip(heads, groups.values(), strict=True)
    ]


def _map(
    title: str,
    cells: Sequence[Cell],
    down: tuple[str, Sequence[Any]],
    across: tuple[str, Sequence[Any]],
    measure: Measure,
) -> Map:
    values = np.full((len(down[1]), len(across[1])), np.nan)
    marks = np.full(values.shape, "", dtype="<U24")
    for cell in cells:
        at = down[1].index(cell.settings[down[0]]), across[1].index(cell.settings[across[0]])
        band = final_band(cell, measure)
        values[at] = np.nan if band is None else band.median
        marks[at] = mark(cell)
    return Map(title, tuple(down[1]), tuple(across[1]), values, marks)


def mark(cell: Cell) -> str:
    """Words about the seeds of a cell that did not end well."""
    states = [member.state for member in cell.members]
    parts = []
    for state in (DIVERGED, FAILED):
        count = states.count(state)
        if count:
            parts.append(state if count == len(states) else f"{count} of {len(states)} {state}")
    return "\n".join(parts)


def parts(experiment: Experiment, measure: Measure | None, choices: Choices) -> list[Part]:
    """Needs a measure, and two axes with more than one value."""
    pair = axis_pair(experiment, choices)
    if measure is None or pair is None:
        return []
    found = maps(experiment, *pair, measure)
    if not any(np.isfinite(one.values).any() for one in found):
        return []
    image = rendered(lambda: draw(found, *pair, measure))
    name = f"{short(pair[0])} \N{MULTIPLICATION SIGN} {short(pair[1])}"
    about = f"Final {measure.label}: median over the seeds, with the seeds that diverged or failed."
    others = [axis for axis in experiment.step_axes if axis not in pair]
    if others:
        which = ", ".join(short(axis) for axis in others)
        about += f" Of {which} each method has the {best_steps(measure)}."
    return [Part(f"Map of {name}", about, (Picture("heatmap", f"{measure.label}, {name}", image),))]


def short(axis: str) -> str:
    """Name of an axis in a figure: the algorithm's keys by their last word."""
    return axis.removeprefix("algorithm.")


def colours(found: Sequence[Map], measure: Measure) -> Normalize:
    """Colour scale of all maps; of accuracies only the 25 points below the best one."""
    known = np.concatenate([one.values[np.isfinite(one.values)] for one in found])
    low, high = float(known.min()), float(known.max())
    if measure.percent:
        return Normalize(max(low, high - _POINTS) if high > low else high - 1.0, high)
    if low > 0 and high / low > _SPAN:
        return LogNorm(low, high)
    return Normalize(low, high if high > low else low + 1.0)


def draw(found: Sequence[Map], rows: str, columns: str, measure: Measure) -> Figure:
    """Maps side by side, values in their entries."""
    norm = colours(found, measure)
    across = columns_of(len(found))
    down = -(-len(found) // across)
    n_rows = max(len(one.rows) for one in found)
    n_columns = max(len(one.columns) for one in found)
    size = max(0.78 * n_columns + 0.9, 2.6), max(0.44 * n_rows + 0.7, 1.6)
    figure = new_figure(across * size[0] + 1.4, down * size[1] + 0.5)
    grid = figure.subplots(down, across, squeeze=False)
    palette = mpl.colormaps[_COLOURS if measure.percent else f"{_COLOURS}_r"]
    for axes, one in zip(grid.flat, found, strict=False):
        plain_text(axes, one.title)
        _entries(axes, one, norm, palette, measure)
        axes.set_ylim(n_rows - 0.5, -0.5)
    for axes in list(grid.flat)[len(found) :]:
        axes.set_visible(False)
    figure.supxlabel(short(columns), fontsize=12)
    figure.supylabel(short(rows), fontsize=12)
    scale = mpl.cm.ScalarMappable(norm, palette)
    clipped = "min" if measure.percent and norm.vmin > _lowest(found) else "neither"
    bar = figure.colorbar(scale, ax=list(grid.flat), label=measure.label, extend=clipped, aspect=30)
    bar.outline.set_visible(False)
    return figure


def _lowest(found: Sequence[Map]) -> float:
    known = np.concatenate([one.values[np.isfinite(one.values)] for one in found])
    return float(known.min())


def _entries(
    axes: Axes, one: Map, norm: Normalize, palette: mpl.colors.Colormap, measure: Measure
) -> None:
    """Coloured entries with their values; grey and hatched where the median seed diverged."""
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlim(-0.5, len(one.columns) - 0.5)
    axes.set_xticks(range(len(one.columns)), [number(value) for value in one.columns])
    names = ["\N{EN DASH}" if value is None else number(value) for value in one.rows]
    axes.set_yticks(range(len(one.rows)), names)
    for (row, column), value in np.ndenumerate(one.values):
        note = one.marks[row, column]
        if math.isfinite(value):
            face, hatch = palette(norm(value)), None
            lightness = 0.3 * face[0] + 0.59 * face[1] + 0.11 * face[2]
            ink = "white" if lightness < 0.55 else "black"
            text = f"{value:.1f}" if measure.percent else f"{value:.1e}"
            text = f"{text}\n{note}" if note else text
        else:
            lost = bool(note) or math.isinf(value)
            face, hatch, ink = ("#e4e4e4", "///", "black") if lost else ("#f7f7f7", None, "black")
            text = note or ("diverged" if math.isinf(value) else "not run")
        place = (column - 0.48, row - 0.47)
        axes.add_patch(Rectangle(place, 0.96, 0.94, facecolor=face, hatch=hatch, edgecolor="white"))
        size = 9 if len(text) < 9 else 7
        axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=size)
