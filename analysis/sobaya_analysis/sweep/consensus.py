"""How far agents without a server are apart at the end, in each variable."""

from __future__ import annotations

from . import text
from .experiment import Experiment, merged_steps
from .numbers import CONSENSUS, Measure, final_band, score, visible_measures
from .part import Choices, Part, Table

_TEXT = (
    "Root mean square distance of the agents from their mean, weighted as mixing conserves it; "
    "for x it stands against iterations and bytes in the learning curves. Final values: median "
    "[20 %, 80 %] over the seeds. Methods with a server have none."
)


def parts(experiment: Experiment, measure: Measure | None, _choices: Choices) -> list[Part]:
    """Needs runs without a server."""
    columns = visible_measures(experiment.cells, CONSENSUS)
    if not columns:
        return []
    cells, about = experiment.cells, _TEXT
    if measure is not None and experiment.step_axes:
        cells = merged_steps(cells, experiment.step_axes, lambda cell: score(cell, measure))
        about += f" Each method has the {text.best_steps(measure)}."
    head = [("method", "k"), *[(column.label, "n") for column in columns]]
    rows = [
        [cell.label, *[text.spread(final_band(cell, column), column) for column in columns]]
        for cell in cells
    ]
    return [Part("Consensus", about, (), Table(head, rows))]
