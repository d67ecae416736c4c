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
from ..sweep.model import COMPLETED, DIVERGED, SWEEP_NAME, Member, Sweep
from .entries import axis_keys, label_of, without
from .model import ACCURACIES, Study, Tuning


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
    value: float
    """Of the measure; infinite if every run diverged."""
    tried: int
    diverged: int


def choose(study: Study, sweep: Sweep) -> list[Choice]:
    """One choice per method, in the order of the sweep; the first one of several equally good."""
    tuning = study.tuning
    if tuning is None:
        raise StudyError(study.path, "there is no tune in this study")
    keys = axis_keys(tuning.grid)
    methods: dict[str, list[tuple[float, Member]]] = {}
    for member in sweep.members:
        rest = json.dumps(without(member.settings, keys), sort_keys=True)
        methods.setdefault(rest, []).append((value_of(sweep, member, tuning), member))
    sign = -1 if tuning.measure in ACCURACIES else 1
    best = [min(tried, key=lambda one: sign * one[0]) for tried in methods.values()]
    labels = _labels(study, sweep, [member for _, member in best], keys)
    return [
        Choice(
            label=label,
            settings=member.settings,
            tuned={key: member.settings[key] for key in sorted(keys & set(member.settings))},
            at_border=frozenset(_at_border(member.settings, tuning)),
            value=value,
            tried=len(tried),
            diverged=sum(one.state == DIVERGED for _, one in tried),
        )
        for label, (value, member), tried in zip(labels, best, methods.values(), strict=True)
    ]


def value_of(sweep: Sweep, member: Member, tuning: Tuning) -> float:
    """The measure of a run, the worst one if it diverged.

    A run that has not ended, or has no such number, cannot be compared: that is refused.
    """
    worst = -math.inf if tuning.measure in ACCURACIES else math.inf
    if member.state == DIVERGED:
        return worst
    path = sweep.path / SWEEP_NAME
    if member.state != COMPLETED or member.run is None:
        why = f" ({member.reason})" if member.reason else ""
        raise SweepError(path, f"run {member.hash} is {member.state}{why}; run the sweep again")
    values = getattr(member.run, tuning.measure)
    tail = 1 if tuning.measure == "hypergradient_norm" else tuning.tail
    known = values[~np.isnan(values)][-tail:]
    if len(known) == 0:
        raise SweepError(path, f"run {member.hash} has no {tuning.measure}; give another measure")
    value = float(known.mean())
    return value if math.isfinite(value) else worst


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


def steps_csv(choices: Sequence[Choice], tuning: Tuning) -> str:
    """The choices as CSV: method, tuned keys, those at the border of the grid, the measure."""
    keys = list(dict.fromkeys(key for choice in choices for key in choice.tuned))
    lines = [["method", *keys, "at_border", tuning.measure, "runs", "diverged"]]
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
