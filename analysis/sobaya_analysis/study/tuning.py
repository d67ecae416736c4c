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
from ..runs import Floats
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
    unmeasured: int
    """Runs that ended well and have no such value, as where the lower level cannot be solved."""


def choose(study: Study, sweep: Sweep) -> list[Choice]:
    """One choice per method, in the order of the sweep; the first one of several equally good."""
    tuning = study.tuning
    if tuning is None:
        raise StudyError(study.path, "there is no tune in this study")
    keys = axis_keys(tuning.grid)
    measure = tuning.measure or _default_measure(sweep)
    _check_measure(sweep, measure)
    methods: dict[str, list[_Tried]] = {}
    for member in sweep.members:
        rest = json.dumps(without(member.settings, keys), sort_keys=True)
        value, count = value_of(member, measure, tuning.tail)
        methods.setdefault(rest, []).append(_Tried(member, value, count))
    sign = -1 if measure in ACCURACIES else 1
    best = [min(tried, key=lambda one: sign * one.value) for tried in methods.values()]
    labels = _labels(study, sweep, [one.member for one in best], keys)
    return [
        Choice(
            label=label,
            settings=one.member.settings,
            tuned=_tuned(one.member.settings, keys),
            at_border=frozenset(_at_border(one.member.settings, tuning)),
            measure=measure,
            value=one.value,
            averaged=_span([other.count for other in tried if other.count]),
            tried=len(tried),
            diverged=sum(other.member.state == DIVERGED for other in tried),
            unmeasured=sum(other.is_unmeasured(measure) for other in tried),
        )
        for label, one, tried in zip(labels, best, methods.values(), strict=True)
    ]


@dataclass(frozen=True, eq=False)
class _Tried:
    member: Member
    value: float
    count: int

    def is_unmeasured(self, measure: str) -> bool:
        return self.member.state != DIVERGED and len(_known(self.member, measure)) == 0


def _tuned(settings: Mapping[str, Any], keys: set[str]) -> dict[str, Any]:
    return {key: settings[key] for key in sorted(keys & set(settings))}


def _span(counts: Sequence[int]) -> tuple[int, int]:
    return min(counts, default=0), max(counts, default=0)


def _default_measure(sweep: Sweep) -> str:
    """The first that a run has: the upper level's own loss rather than test data."""
    runs = [member.run for member in sweep.members if member.run is not None]
    seen = (m for m in DEFAULT_MEASURES if any(np.isfinite(getattr(r, m)).any() for r in runs))
    return next(seen, DEFAULT_MEASURES[-1])


def value_of(member: Member, measure: str, tail: int) -> tuple[float, int]:
    """The measure of a run and of how many evaluations it is a mean.

    The worst one, and 0, if the run diverged or has no such number.
    """
    known = _known(member, measure)[-1 if measure == "hypergradient_norm" else -tail :]
    value = float(known.mean()) if len(known) else math.nan
    worst = -math.inf if measure in ACCURACIES else math.inf
    return (value, len(known)) if math.isfinite(value) else (worst, 0)


def _known(member: Member, measure: str) -> Floats:
    """Shape (E',): the values of the measure that a run has, none if it diverged."""
    if member.state == DIVERGED or member.run is None:
        return np.empty(0)
    values: Floats = getattr(member.run, measure)
    return values[~np.isnan(values)]


def _check_measure(sweep: Sweep, measure: str) -> None:
    """Refuse a measure that no run has, unless all of them diverged."""
    ended = [member for member in sweep.members if member.state != DIVERGED]
    for member in ended:
        check_ended(sweep, member)
    if ended and not any(len(_known(member, measure)) for member in ended):
        raise SweepError(sweep.path / SWEEP_NAME, f"no run has {measure}; give another measure")


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
    lines = [["method", *keys, "at_border", choices[0].measure, "runs", "diverged", "unmeasured"]]
    lines += [
        [
            choice.label,
            *[number(choice.tuned[key]) if key in choice.tuned else "" for key in keys],
            " ".join(sorted(choice.at_border)),
            f"{choice.value:.10g}",
            str(choice.tried),
            str(choice.diverged),
            str(choice.unmeasured),
        ]
        for choice in choices
    ]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()
