"""How well the learnt weights of samples tell clean from corrupted ones."""

from __future__ import annotations

from collections.abc import Sequence

from . import text
from .experiment import Cell, Experiment, merged_steps
from .numbers import AREAS, MEASURES, Measure, final_band, score, visible_measures
from .part import Choices, Part, Table

_COLUMNS = (*AREAS, *(measure for measure in MEASURES if measure.percent))
_TEXT = (
    "How well samples with corrupted labels are told from clean ones: by their weights, and by "
    "their losses where the lower level is solved with these weights (areas under the ROC curve; "
    "1: perfectly, 0.5: not at all; unknown where no label is corrupted). Test accuracy is that of "
    "the y with which a run ended, at y*(x) that of the solved lower level. Final values: median "
    "[20 %, 80 %] over the seeds."
)


def parts(experiment: Experiment, measure: Measure | None, _choices: Choices) -> list[Part]:
    """Needs weights of which it is known how good they are."""
    if AREAS[0] not in visible_measures(experiment.all_cells, AREAS):
        return []
    columns = visible_measures(experiment.all_cells, _COLUMNS)
    head = [("method", "k"), *[(column.label, "n") for column in columns]]
    rows = [_row(cell, columns, columns) for cell in _at_their_best(experiment, measure)]
    judged = [column for column in columns if column.area or column == measure]
    rows += [_row(bound, columns, judged) for bound in experiment.bounds]
    about = _TEXT
    if measure is not None and experiment.step_axes:
        about += f" Each method has the {text.best_steps(measure)}."
    return [Part("Weights of samples", about, (), Table(head, rows))]


def _row(cell: Cell, columns: Sequence[Measure], shown: Sequence[Measure]) -> list[str]:
    """A bound may be a run of few iterations, of which all but what is judged says nothing."""
    bands = [final_band(cell, column) if column in shown else None for column in columns]
    values = [text.spread(found, m) for found, m in zip(bands, columns, strict=True)]
    return [cell.label, *values]


def _at_their_best(experiment: Experiment, measure: Measure | None) -> tuple[Cell, ...]:
    if measure is None:
        return experiment.cells
    return merged_steps(experiment.cells, experiment.step_axes, lambda cell: score(cell, measure))
