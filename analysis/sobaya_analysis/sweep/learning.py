"""Loss, accuracy and hypergradient norm against iterations, bits per worker and wall time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..curves import METRICS, Metric, is_shown
from ..figures import overview
from ..group import Section
from ..runs import Run
from .draw import styles_of
from .experiment import MOST_LINES, OF_A_METHOD, Cell, Experiment, Panel, merged_steps, panels
from .numbers import Measure, score
from .part import Choices, Part, Picture
from .text import best_steps

_TEXT = (
    "Lines are medians over the seeds, bands the 20 % to 80 % quantiles, at equal iteration; "
    "an iteration is drawn if at least half of the seeds have reached it. The upper-level loss is "
    "a running mean of mini-batch losses."
)


def curves_of(runs: Sequence[Run]) -> tuple[Metric, ...]:
    """Metrics of which some run has two values: one value, such as that at the end, is no curve."""
    return tuple(
        metric
        for metric in METRICS
        if any(np.count_nonzero(is_shown(getattr(run, metric.column))) > 1 for run in runs)
    )


def _panels(cells: Sequence[Cell], axes: Sequence[str]) -> tuple[Panel, ...]:
    """All methods together for each setting of the rest, if they are few; else fewer of them."""
    split = panels(cells, [a for a in axes if not a.startswith(OF_A_METHOD)], most_lines=0)
    few = all(len(panel.cells) <= MOST_LINES for panel in split)
    return split if few else panels(cells, axes)


def parts(experiment: Experiment, measure: Measure | None, _choices: Choices) -> list[Part]:
    """One figure per setting of what is neither algorithm nor step size; none without logs."""
    cells = experiment.cells
    text = _TEXT
    if measure is not None:
        cells = merged_steps(cells, experiment.step_axes, lambda cell: score(cell, measure))
        if experiment.step_axes:
            text += f" Each line has the {best_steps(measure)}."
    rest = [axis for axis in experiment.axes if axis not in experiment.step_axes]
    pictures = []
    for place, panel in enumerate(_panels([cell for cell in cells if cell.runs], rest), start=1):
        if not panel.cells:
            continue
        section = Section(panel.title, "learning", tuple(cell.group for cell in panel.cells))
        image = overview(section, styles_of(panel.cells), curves_of(section.runs))
        if image is not None:
            name = f"learning-{place}" if panel.title else "learning"
            pictures.append(Picture(name, panel.title or "learning curves", image))
    return [Part("Learning curves", text, tuple(pictures))] if pictures else []
