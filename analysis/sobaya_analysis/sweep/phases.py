"""Where the time of an iteration goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..figures import rendered
from .draw import row_figure
from .experiment import Cell, Experiment, merged_steps
from .model import COMPLETED, PHASES
from .numbers import Measure, score
from .part import Choices, Part, Picture, Table

_COLOURS = ("#0072B2", "#E69F00", "#CC79A7", "#BBBBBB", "#009E73")


@dataclass(frozen=True, eq=False)
class Row:
    """A cell and its milliseconds per iteration by phase, medians over the seeds."""

    cell: Cell
    times: Mapping[str, float]


def rows(cells: Sequence[Cell]) -> list[Row]:
    """Times of all cells with a run that has ended well and has written them."""
    found = []
    for cell in cells:
        per_run = [
            {phase: 1e3 * seconds / iterations for phase, seconds in member.seconds.items()}
            for member in cell.members
            if member.state == COMPLETED and member.run is not None and member.seconds
            if (iterations := int(member.run.iteration[-1])) > 0
        ]
        if per_run:
            times = {
                phase: float(np.median([run.get(phase, 0.0) for run in per_run]))
                for phase in PHASES
            }
            found.append(Row(cell, times))
    return found


def parts(experiment: Experiment, measure: Measure | None, _choices: Choices) -> list[Part]:
    """Needs summary.json of a run that has ended."""
    cells = experiment.cells
    if measure is not None:
        cells = merged_steps(cells, experiment.step_axes, lambda cell: score(cell, measure))
    found = rows(cells)
    if not found:
        return []
    image = rendered(lambda: draw(found))
    head = [("method", "k"), *[(f"{phase} [ms]", "n") for phase in PHASES], ("sum [ms]", "n")]
    lines = [
        [row.cell.label, *[f"{row.times[p]:.3g}" for p in PHASES], f"{sum(row.times.values()):.3g}"]
        for row in found
    ]
    about = (
        "Milliseconds per iteration: mean over the ranks, median over the seeds. Evaluations are "
        "not in them. Runs that shared a machine have waited for one another."
    )
    picture = Picture("time", "time per iteration by phase", image)
    return [Part("Time", about, (picture,), Table(head, lines))]


def draw(found: Sequence[Row]) -> Figure:
    """Stacked bars, one per cell."""
    figure, (axes,) = row_figure([row.cell.label for row in found], 1, 6.0, below=1.2)
    for place, row in enumerate(found):
        left = 0.0
        for phase, colour in zip(PHASES, _COLOURS, strict=True):
            axes.barh(place, row.times[phase], left=left, height=0.66, color=colour, lw=0)
            left += row.times[phase]
    axes.set_xlim(left=0)
    axes.set_xlabel("time per iteration [ms]")
    handles = [Patch(color=c, label=phase) for phase, c in zip(PHASES, _COLOURS, strict=True)]
    figure.legend(handles=handles, loc="outside upper center", ncols=5, fontsize=10.5)
    return figure
