"""What compression saves and what it costs: accuracy, points lost, bytes against soba."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..markup import human_bytes
from . import text
from .experiment import Cell, Experiment, merged_steps, reference
from .model import COMPLETED, DIVERGED
from .numbers import Band, Measure, bytes_per_worker, final_band, paired, score
from .part import Choices, Part, Table


@dataclass(frozen=True, eq=False)
class Row:
    """A cell next to the soba cell with the same problem, data and workers."""

    cell: Cell
    final: Band | None
    lost: Band | None
    """soba's final value less the cell's own, paired by seed; None without soba."""
    bytes: float | None
    """That a worker uploads in a whole run; median of the runs that completed."""
    times_less: float | None
    """soba's bytes over the cell's own."""


def upload(cell: Cell | None) -> float | None:
    """Bytes per worker of a whole run, median over the seeds; None if none has completed."""
    totals = [bytes_per_worker(run) for run in cell.completed] if cell else []
    return float(np.median(totals)) if totals else None


def rows(cells: Sequence[Cell], measure: Measure) -> list[Row]:
    """One row per cell."""
    found = []
    for cell in cells:
        base = reference(cell, cells)
        own, full = upload(cell), upload(base)
        found.append(
            Row(
                cell=cell,
                final=final_band(cell, measure),
                lost=paired(cell, base, measure) if base else None,
                bytes=own,
                times_less=full / own if own and full else None,
            )
        )
    return found


def parts(experiment: Experiment, measure: Measure | None, _choices: Choices) -> list[Part]:
    """Needs a measure."""
    if measure is None:
        return []
    cells = merged_steps(experiment.cells, experiment.step_axes, lambda cell: score(cell, measure))
    difference = "points lost against soba" if measure.percent else "soba's less its own"
    head = [("method", "k"), (measure.label, "n"), (difference, "n"), ("uploaded per worker", "n")]
    head += [("times less than soba", "n"), ("of soba's bytes", "n"), ("runs", "")]
    table = Table(head, [_cells(row, measure) for row in rows(cells, measure)])
    about = (
        "Final values: median [20 %, 80 %] over the seeds; a run that diverged counts as worse "
        "than all others. The difference is that between runs with the same seed: median "
        "[20 %, 80 %] of the differences. Bytes are lengths of packets, headers in, of a whole run."
    )
    if measure.percent:
        about += " Below 0 a method is ahead of soba."
    if experiment.step_axes:
        about += f" Each method has the {text.best_steps(measure)}."
    return [Part("Traffic", about, (), table)]


def _cells(row: Row, measure: Measure) -> list[str]:
    states = [member.state for member in row.cell.members]
    done = states.count(COMPLETED)
    runs = str(done) if done == len(states) else f"{done} of {len(states)}"
    if DIVERGED in states:
        runs += f", {states.count(DIVERGED)} diverged"
    return [
        row.cell.label,
        text.spread(row.final, measure),
        text.spread(row.lost, measure),
        text.NONE if row.bytes is None else human_bytes(row.bytes),
        text.times(row.times_less),
        text.NONE if row.times_less is None else f"{100 / row.times_less:.3g} %",
        runs,
    ]
