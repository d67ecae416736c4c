"""Choose for each method of a study what is tuned, by the runs of its tuning sweep."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..configs import number
from ..errors import StudyError, SweepError
from ..sweep.experiment import experiment, relabelled
from ..sweep.model import DIVERGED, SWEEP_NAME, Member, Sweep, check_ended
from .entries import axis_keys, label_of, without
from .model import ACCURACIES, DEFAULT_MEASURES, Study, Tuning


@dataclass(frozen=True, eq=False)
class Choice:
    """A method and the best of what was tried for it."""

    label: str
    settings: Mapping[str, Any]
    """What the sweep sets in the chosen run: the method, and what is tuned."""
    tuned: Mapping[str, Any]
    """The chosen value of each tuned key that the method has."""
    at_border: frozenset[str]
    """Tuned keys whose chosen number is the lowest or the highest that was tried."""
    measure: str
    value: float
    """Of the measure; infinite if every run diverged."""
    averaged: tuple[int, int]
    """Fewest and most evaluations that the values of its runs are means of; 0 if all diverged."""
    tried: int
    diverged: int


def choose(study: Study, sweep: Sweep) -> list[Choice]:
    """One choice per method, in the order of the sweep; the first one of several equally good."""
    tuning = study.tuning
    if tuning is None:
        raise StudyError(study.path, "there is no tune in this study")
    keys = axis_keys(tuning.grid)
    measure = tuning.measure or _default_measure(sweep)
    methods: dict[str, list[tuple[float, Member]]] = {}
    averaged: dict[str, list[int]] = {}
    for member in sweep.members:
        rest = json.dumps(without(member.settings, keys), sort_keys=True)
        value, count = value_of(sweep, member, measure, tuning.tail)
        methods.setdefault(rest, []).append((value, member))
        averaged.setdefault(rest, []).extend([count] if count else [])
    sign = -1 if measure in ACCURACIES else 1
    best = [min(tried, key=lambda one: sign * one[0]) for tried in methods.values()]
    labels = _labels(study, sweep, [member for _, member in best], keys)
    return [
        Choice(
            label=label,
            settings=member.settings,
            tuned={key: member.settings[key] for key in sorted(keys & set(member.settings))},
            at_border=frozenset(_at_border(member.settings, tuning)),
            measure=measure,
            value=value,
            averaged=(min(counts, default=0), max(counts, default=0)),
            tried=len(tried),
            diverged=sum(one.state == DIVERGED for _, one in tried),
        )
        for label, (value, member), tried, counts in zip(
            labels, best, methods.values(), averaged.values(), strict=True
        )
    ]


def _default_measure(sweep: Sweep) -> str:
    """The first that a run has: the upper level's own loss rather than test data."""
    runs = [member.run for member in sweep.members if member.run is not None]
    seen = (m for m in DEFAULT_MEASURES if any(np.isfinite(getattr(r, m)).any() for r in runs))
    return next(seen, DEFAULT_MEASURES[-1])


def value_of(sweep: Sweep, member: Member, measure: str, tail: int) -> tuple[float, int]:
    """The measure of a run, the worst one if it diverged, and of how many evaluations it is a mean.

    A run that has not ended, or has no such number, cannot be compared: that is refused.
    """
    worst = -math.inf if measure in ACCURACIES else math.inf
    check_ended(sweep, member)
    if member.state == DIVERGED or member.run is None:
        return worst, 0
    values = getattr(member.run, measure)
    known = values[~np.isnan(values)][-1 if measure == "hypergradient_norm" else -tail :]
    if len(known) == 0:
        problem = f"run {member.hash} has no {measure}; give another measure"
        raise SweepError(sweep.path / SWEEP_NAME, problem)
    value = float(known.mean())
    return (value, len(known)) if math.isfinite(value) else (worst, 0)


def _at_border(settings: Mapping[str, Any], tuning: Tuning) -> list[str]:
    found = []
    for axis, values in tuning.grid.items():
        numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
        if len(numbers) < max(2, len(values)):
            continue
        ends = min(numbers), max(numbers)
        found += [key for key in axis_keys([axis]) if settings.get(key) in ends]
    return found


def _labels(study: Study, sweep: Sweep, chosen: Sequence[Member], keys: set[str]) -> list[str]:
    """Words for each method: those of its entry, else what tells it from the others."""
    names = {member.hash: label_of(study.entries, member.settings) for member in sweep.members}
    cells = {
        member.hash: cell for cell in experiment(sweep, names).cells for member in cell.members
    }
    plain = relabelled([cells[member.hash] for member in chosen], without=sorted(keys))
    return [cell.label for cell in plain]


def steps_csv(choices: Sequence[Choice]) -> str:
    """The choices as CSV: method, tuned keys, those at the border of the grid, the measure."""
    keys = list(dict.fromkeys(key for choice in choices for key in choice.tuned))
    lines = [["method", *keys, "at_border", choices[0].measure, "runs", "diverged"]]
    lines += [
        [
            choice.label,
            *[number(choice.tuned[key]) if key in choice.tuned else "" for key in keys],
            " ".join(sorted(choice.at_border)),
            f"{choice.value:.10g}",
            str(choice.tried),
            str(choice.diverged),
        ]
        for choice in choices
    ]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()
