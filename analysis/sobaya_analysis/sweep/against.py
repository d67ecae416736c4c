"""Final values against an axis: heterogeneity of the data, ratio of the compressor, any number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..figures import rendered
from ..summary import LAST_EVALUATIONS
from ..theme import Style
from . import text
from .draw import (
    add_legend,
    columns_of,
    cross,
    entries_of,
    fixed_ticks,
    legend_shape,
    limits_of,
    line_with_band,
    panel_grid,
    plain_text,
    set_limits,
    styles_of,
)
from .experiment import (
    Cell,
    Experiment,
    is_number,
    merged_steps,
    panels,
    relabelled,
    values_of,
)
from .labels import RATIO, words
from .numbers import Band, Measure, final_band, score, visible_measures
from .part import Choices, Part, Picture, Table

CONCENTRATION = "partition.concentration"
DEFAULT_AXES = (CONCENTRATION, "problem.heterogeneity", RATIO)
_TITLES = {
    CONCENTRATION: "Heterogeneity of the data",
    "problem.heterogeneity": "Heterogeneity of the workers",
    RATIO: "Compression ratio",
}
_LABELS = {
    CONCENTRATION: "Dirichlet concentration (heterogeneity grows to the right)",
    "problem.heterogeneity": "heterogeneity",
    RATIO: "compression ratio",
}


@dataclass(frozen=True, eq=False)
class Line:
    """One method over the values of the axis."""

    cell: Cell
    """Its first cell."""
    x: tuple[float, ...]
    bands: tuple[Band, ...]
    everywhere: Band | None
    """Value of a method that lacks the key, as soba lacks a ratio: drawn across."""


def chosen_axes(experiment: Experiment, choices: Choices) -> list[str]:
    """Numerical axes asked for or, without any, those about heterogeneity and the ratio."""
    wanted = choices.against or DEFAULT_AXES
    return [
        axis
        for axis in wanted
        if axis in experiment.axes
        and len([v for v in values_of(experiment.cells, axis) if is_number(v)]) > 1
    ]


def belongs(key: str, axis: str) -> bool:
    """Whether a key goes with an axis: `partition.kind` with `partition.concentration`."""
    return key == axis or (axis == CONCENTRATION and key.startswith("partition."))


def lines(
    cells: Sequence[Cell], axis: str, measure: Measure, tuned: Sequence[str] = ()
) -> list[Line]:
    """Lines over the axis, of cells that differ in nothing else but what goes with it.

    Neither do `tuned` keys count, of which each cell has its own best value.
    """
    without = [key for key in cells[0].settings if belongs(key, axis) or key in tuned]
    members: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        rest = (cell.method, *(repr(v) for k, v in cell.settings.items() if k not in without))
        members.setdefault(rest, []).append(cell)
    found = []
    for inside in members.values():
        points = [
            (float(cell.settings[axis]), value)
            for cell in inside
            if is_number(cell.settings[axis]) and (value := final_band(cell, measure)) is not None
        ]
        points.sort(key=lambda point: point[0])
        lacking = [cell for cell in inside if cell.settings[axis] is None]
        across = final_band(lacking[0], measure) if lacking else None
        x, bands = tuple(x for x, _ in points), tuple(value for _, value in points)
        if points or across:
            found.append(Line(inside[0], x, bands, across))
    heads = relabelled([one.cell for one in found], without=without)
    return [replace(one, cell=cell) for one, cell in zip(found, heads, strict=True)]


def parts(experiment: Experiment, measure: Measure | None, choices: Choices) -> list[Part]:
    """One part per axis that takes two numbers or more; needs a measure."""
    if measure is None:
        return []
    measures = [measure, *(m for m in visible_measures(experiment.cells) if m != measure)]
    result = []
    for axis in chosen_axes(experiment, choices):
        steps = [step for step in experiment.step_axes if step != axis]
        cells = merged_steps(experiment.cells, steps, lambda cell: score(cell, measure))
        by_measure = [(m, lines(cells, axis, m, steps)) for m in measures]
        by_measure = [(m, found) for m, found in by_measure if any(one.bands for one in found)]
        if not by_measure:
            continue
        rest = [key for key in experiment.axes if key not in steps and not belongs(key, axis)]
        name = axis.replace(".", "-").replace("_", "-")
        pictures = [
            Picture(
                f"against-{name}-{m.column.replace('_', '-')}",
                f"final {m.label} against {_LABELS.get(axis, axis)}",
                rendered(partial(draw, found, rest, axis, m)),
            )
            for m, found in by_measure
        ]
        about = (
            "Final values: medians over the seeds with the 20 % to 80 % band; accuracies are means "
            f"of their last values, {LAST_EVALUATIONS} at most. A method without this key is drawn "
            "across, dashed."
        )
        if steps:
            about += f" Each has the {text.best_steps(measure)}."
        title = _TITLES.get(axis, f"Against {axis}")
        result.append(Part(title, about, tuple(pictures), _table(by_measure, axis)))
    return result


def _table(by_measure: Sequence[tuple[Measure, Sequence[Line]]], axis: str) -> Table:
    """Methods down, values of the axis across."""
    numbers = sorted({x for _, found in by_measure for one in found for x in one.x})
    if axis == CONCENTRATION:
        numbers.reverse()
    head = [("method", "k"), ("final", ""), *[(words(axis, x), "n") for x in numbers]]
    head.append(("without", "n"))
    rows = []
    for measure, found in by_measure:
        for one in found:
            known = dict(zip(one.x, one.bands, strict=True))
            values = [text.spread(known.get(x), measure) for x in numbers]
            rows.append(
                [one.cell.label, measure.label, *values, text.spread(one.everywhere, measure)]
            )
    return Table(head, rows)


def draw(found: Sequence[Line], rest: Sequence[str], axis: str, measure: Measure) -> Figure:
    """One panel per setting of the other axes, a line per method."""
    split = panels([one.cell for one in found], rest)
    by_cell = {one.cell: one for one in found}
    entries = entries_of([panel.cells for panel in split])
    bands = [band for one in found for band in (*one.bands, one.everywhere) if band]
    lost = any(math.isinf(band.median) for band in bands)
    extra = [cross("diverged")] if lost else []
    size = (7.2, 4.4) if len(split) == 1 else (4.4, 3.3)
    _, n_lines = legend_shape([*entries, *["diverged"] * lost], size[0] * columns_of(len(split)))
    figure, grid = panel_grid(len(split), n_lines, size)
    limits = limits_of(bands, not measure.percent)
    edge = limits[0] if measure.percent else limits[1]
    numbers = sorted({x for one in found for x in one.x})
    for axes, panel in zip(grid, split, strict=True):
        plain_text(axes, panel.title)
        for cell, style in zip(panel.cells, styles_of(panel.cells), strict=True):
            one = by_cell[cell]
            line_with_band(axes, one.x, one.bands, style, edge)
            if one.everywhere is not None and math.isfinite(one.everywhere.median):
                _draw_across(axes, one.everywhere, style)
        set_limits(axes, limits)
        if numbers[0] > 0:
            axes.set_xscale("log")
        if axis == CONCENTRATION:
            axes.set_xlim(numbers[-1] * 1.15, numbers[0] / 1.15)
        fixed_ticks(axes.xaxis, numbers)
    figure.supxlabel(_LABELS.get(axis, axis), fontsize=12)
    figure.supylabel(f"final {measure.label}", fontsize=12)
    add_legend(figure, entries, extra)
    return figure


def _draw_across(axes: Axes, band: Band, style: Style) -> None:
    if math.isfinite(band.low) and math.isfinite(band.high):
        axes.axhspan(band.low, band.high, color=style.colour, alpha=0.08, lw=0)
    axes.axhline(band.median, color=style.colour, linestyle=(0, (5, 2)), linewidth=1.5)
