"""The numbers behind the figures: bands over seeds, final values, values at and for given bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..curves import BAND, is_shown, row_of
from ..runs import Floats, Run
from ..summary import LAST_EVALUATIONS
from .experiment import Cell
from .model import COMPLETED, DIVERGED, Member


@dataclass(frozen=True)
class Measure:
    """What a run is judged by: a column of the log's evaluations."""

    column: str
    label: str
    percent: bool = False
    """An accuracy: shown in percent, better if higher, averaged over the last evaluations.
    Of others the last evaluation counts."""
    area: bool = False
    """An area under a curve, better if higher. What is neither is better if lower."""

    @property
    def sign(self) -> int:
        """+1 if higher is better, -1 if lower is."""
        return 1 if self.percent or self.area else -1

    @property
    def worst(self) -> float:
        """Value of a run that diverged: worse than any other, so that medians count it."""
        return -self.sign * math.inf


MEASURES = (
    Measure("test_accuracy", "test accuracy [%]", percent=True),
    Measure("solution_accuracy", "test accuracy at y*(x) [%]", percent=True),
    Measure("hypergradient_norm", "hypergradient norm"),
)
AREAS = (
    Measure("weight_auc", "AUC of the weights", area=True),
    Measure("solution_loss_auc", "AUC of the losses at y*(x)", area=True),
)
"""How well corrupted samples are told from clean ones; runs are not judged by it."""

CONSENSUS = tuple(
    Measure(f"consensus_error_{name}", f"consensus error of {name}") for name in "xyz"
)
"""How far agents without a server are apart; runs are not judged by it."""


@dataclass(frozen=True)
class Band:
    """Median and 20 % and 80 % quantiles over n seeds; infinite where runs diverged."""

    median: float
    low: float
    high: float
    n: int


def band(values: Iterable[float | None]) -> Band | None:
    """Band of the values that are known, None if none is."""
    known = sorted(value for value in values if value is not None and not math.isnan(value))
    if not known:
        return None
    low, high = (quantile(known, share) for share in BAND)
    return Band(quantile(known, 0.5), low, high, len(known))


def quantile(ordered: Sequence[float], share: float) -> float:
    """Quantile, linear between order statistics; infinite if one of the two that it needs is."""
    place = share * (len(ordered) - 1)
    below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
    weight = place - math.floor(place)
    if weight == 0 or below == above:
        return below
    if math.isinf(below) or math.isinf(above):
        return below if math.isinf(below) else above
    return below + weight * (above - below)


def visible_measures(
    cells: Sequence[Cell], among: Sequence[Measure] = MEASURES
) -> tuple[Measure, ...]:
    """Measures of which any run has a value that can be shown."""
    runs = [run for cell in cells for run in cell.runs]
    return tuple(
        measure
        for measure in among
        if any(is_shown(getattr(run, measure.column)).any() for run in runs)
    )


def values_at(run: Run, measure: Measure) -> Floats:
    """Shape (E,): the measure at each evaluation, accuracies in percent.

    What is too large to be shown is infinite.
    """
    values: Floats = getattr(run, measure.column)
    values = np.where(is_shown(values) | np.isnan(values), values, np.copysign(np.inf, values))
    return 100.0 * values if measure.percent else values


def final(member: Member, measure: Measure) -> float | None:
    """Final value; the worst one if the run diverged, None if it has not ended well for others."""
    if member.state == DIVERGED:
        return measure.worst
    if member.state != COMPLETED or member.run is None:
        return None
    values = values_at(member.run, measure)
    known = values[~np.isnan(values)][-LAST_EVALUATIONS if measure.percent else -1 :]
    if len(known) == 0:
        return None
    value = float(known.mean())
    return value if math.isfinite(value) else measure.worst


def final_band(cell: Cell, measure: Measure) -> Band | None:
    """Band of the final values over the seeds of a cell."""
    return band(final(member, measure) for member in cell.members)


def start(member: Member, measure: Measure) -> float | None:
    """The measure before the first iteration, None if it was not evaluated there."""
    if member.run is None or not np.any(member.run.eval_iteration[:1] == 0):
        return None
    value = float(values_at(member.run, measure)[0])
    return value if math.isfinite(value) else None


def start_band(cell: Cell, measure: Measure) -> Band | None:
    """Band of the values before the first iteration over the seeds of a cell."""
    return band(start(member, measure) for member in cell.members)


def score(cell: Cell, measure: Measure) -> float:
    """Median of the final values as a number of which higher is better; -inf if not known."""
    found = final_band(cell, measure)
    return -math.inf if found is None else measure.sign * found.median


def bytes_per_worker(run: Run) -> float:
    """Bytes that one worker uploads in the whole run."""
    return float(run.upload_bits_per_worker[-1]) / 8


def evaluations_by_bytes(run: Run, measure: Measure) -> tuple[Floats, Floats]:
    """Bytes uploaded per worker and the measure, at the evaluations where it is known."""
    values = values_at(run, measure)
    row = row_of(run.iteration, run.eval_iteration)
    known = (row >= 0) & np.isfinite(values)
    return run.upload_bits_per_worker[row[known]] / 8, values[known]


def value_for_bytes(member: Member, measure: Measure, budget: float) -> float | None:
    """The measure when a worker has uploaded `budget` bytes, linear between evaluations.

    A run that ends with fewer bytes keeps its last value; one that diverged by then is worst.
    None before the first evaluation.
    """
    if member.run is None or member.state not in (COMPLETED, DIVERGED):
        return None
    size, value = evaluations_by_bytes(member.run, measure)
    if len(size) == 0 or budget < size[0]:
        return None
    if member.state == DIVERGED and budget > size[-1]:
        return measure.worst
    return float(np.interp(budget, size, value))


def bytes_for_value(member: Member, measure: Measure, target: float) -> float | None:
    """Bytes per worker after which the target is first reached, linear between evaluations.

    Infinite if the run ended without reaching it; None if it was evaluated at its end alone.
    """
    if member.run is None or member.state not in (COMPLETED, DIVERGED):
        return None
    size, value = evaluations_by_bytes(member.run, measure)
    if len(size) < 2:
        return None
    reached = measure.sign * (value - target) >= 0
    if not reached.any():
        return math.inf
    at = int(np.argmax(reached))
    if at == 0:
        return float(size[0])
    share = (target - value[at - 1]) / (value[at] - value[at - 1])
    return float(size[at - 1] + share * (size[at] - size[at - 1]))


def paired(own: Cell, other: Cell, measure: Measure) -> Band | None:
    """Band of the differences other - own between final values of the same seed.

    Seeds at which the other run diverged are left out.
    """
    by_seed = {member.seed: final(member, measure) for member in other.members}
    differences = []
    for member in own.members:
        full, value = by_seed.get(member.seed), final(member, measure)
        if full is not None and value is not None and math.isfinite(full):
            differences.append(full - value)
    return band(differences)
