"""What each method has reached when all have uploaded the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..curves import thin
from ..figures import rendered
from ..markup import human_bytes
from ..theme import algorithm_style
from . import text
from .draw import dot_row, limits_of, row_figure, row_note
from .experiment import Cell, Experiment, merged_steps
from .numbers import Band, Measure, band, bytes_per_worker, score, value_for_bytes
from .part import Choices, Part, Picture, Table

MULTIPLES = (1, 2, 5, 10, 20, 50, 100)
_MOST = 4


@dataclass(frozen=True, eq=False)
class Row:
    """A cell and its values, one per budget."""

    cell: Cell
    values: tuple[Band | None, ...]


def budgets(cells: Sequence[Cell]) -> list[float]:
    """Bytes per worker of the cheapest finished cell, and multiples that the dearest can fill."""
    totals = [
        float(np.median([bytes_per_worker(run) for run in cell.completed]))
        for cell in cells
        if cell.completed
    ]
    totals = [total for total in totals if total > 0]
    if not totals:
        return []
    fitting = [m * min(totals) for m in MULTIPLES if m * min(totals) <= max(totals) * 1.001]
    return [fitting[index] for index in thin(len(fitting), _MOST)]


def rows(cells: Sequence[Cell], measure: Measure, sizes: Sequence[float]) -> list[Row]:
    """Values of all cells that have any, for each budget."""
    found = [
        Row(
            cell,
            tuple(
                band(value_for_bytes(member, measure, size) for member in cell.members)
                for size in sizes
            ),
        )
        for cell in cells
    ]
    return [row for row in found if any(value is not None for value in row.values)]


def parts(experiment: Experiment, measure: Measure | None, _choices: Choices) -> list[Part]:
    """Needs a measure and two finished cells that upload something."""
    if measure is None:
        return []
    cells = merged_steps(experiment.cells, experiment.step_axes, lambda c: score(c, measure))
    sizes = budgets(cells)
    found = rows(cells, measure, sizes)
    if not sizes or len(found) < 2:
        return []
    titles = [f"{human_bytes(size)} ({size / sizes[0]:g}\N{MULTIPLICATION SIGN})" for size in sizes]
    image = rendered(lambda: draw(found, measure, titles))
    head = [("method", "k"), *[(title, "n") for title in titles]]
    table = Table(
        head, [[row.cell.label, *[text.spread(v, measure) for v in row.values]] for row in found]
    )
    about = (
        f"{measure.label.capitalize()} when a worker has uploaded what the cheapest finished "
        "method uploads in its whole run, and multiples of it; linear between evaluations. A run "
        "that ends with less keeps its last value. Median and 20 % to 80 % band over the seeds."
    )
    picture = Picture("equal-bytes", f"{measure.label} at equal bytes", image)
    return [Part("At equal bytes", about, (picture,), table)]


def draw(found: Sequence[Row], measure: Measure, titles: Sequence[str]) -> Figure:
    """One row per cell, one panel per budget."""
    width = 2.9 if len(titles) > 2 else 4.2
    figure, grid = row_figure([row.cell.label for row in found], len(titles), width)
    for column, (axes, title) in enumerate(zip(grid, titles, strict=True)):
        axes.set_title(title, fontsize=11)
        bands = [row.values[column] for row in found]
        low, high, logarithmic = limits_of([b for b in bands if b], not measure.percent)
        if logarithmic:
            axes.set_xscale("log")
        else:
            axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set_xlim(low, high)
        for place, row in enumerate(found):
            axes.axhline(place, color="#eeeeee", linewidth=0.8, zorder=0)
            value = row.values[column]
            if value is None:
                row_note(axes, place, "no such evaluation")
            elif math.isfinite(value.median):
                dot_row(axes, place, value, algorithm_style(row.cell.kind))
            else:
                row_note(axes, place, "diverged")
    figure.supxlabel(f"{measure.label} after this upload per worker", fontsize=12)
    return figure
