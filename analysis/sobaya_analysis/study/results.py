"""What the runs of a study came to: numbers by method, losses paired by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..configs import lookup
from ..runs import LOG_NAME, Run, load_run
from ..summary import summarise_run
from .model import Method, Study

DIVERGED = -math.inf
"""Accuracy of a run that did not end well: less than any other, so that medians count it."""


@dataclass(frozen=True)
class Spread:
    """Median, lowest and highest over the seeds; infinite where runs diverged."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class MethodResult:
    """All runs of one method; None where no run has such a number."""

    method: Method
    family: str
    """Algorithm, feedback, and whether the way down is compressed too."""
    runs: tuple[Run, ...]
    completed: int
    accuracy: Spread | None
    """Test accuracy in percent: each run's mean over its last evaluations."""
    lost: Spread | None
    """Points of accuracy lost against the reference's run with the same seed."""
    upload: float
    """Bytes that all workers send in a run of the planned length; median."""
    download: float
    """The same of the bytes that all workers receive."""
    times_less_up: float
    """How many times less the method uploads than the reference."""
    times_less_down: float

    @property
    def total(self) -> float:
        """Bytes of both ways."""
        return self.upload + self.download


def load_results(study: Study, folder: Path) -> list[MethodResult]:
    """Results of a study whose runs are folder/METHOD-sSEED, in its order of methods."""
    runs = {
        method.name: {
            seed: load_run(folder / f"{method.name}-s{seed}" / LOG_NAME) for seed in study.seeds
        }
        for method in study.methods
    }
    return results(study, runs)


def results(study: Study, runs: Mapping[str, Mapping[int, Run]]) -> list[MethodResult]:
    """Results from the runs of each method by seed. Without a reference nothing is compared."""
    reference = runs.get(study.reference, {})
    upload = _bytes(list(reference.values()), "upload_bytes")
    download = _bytes(list(reference.values()), "download_bytes")
    found = []
    for method in study.methods:
        own = runs[method.name]
        members = tuple(own.values())
        up, down = _bytes(members, "upload_bytes"), _bytes(members, "download_bytes")
        found.append(
            MethodResult(
                method=method,
                family=family(members[0]),
                runs=members,
                completed=sum(run.status == "completed" for run in members),
                accuracy=spread([final_accuracy(run) for run in members]),
                lost=spread([_lost(reference.get(seed), run) for seed, run in own.items()]),
                upload=up,
                download=down,
                times_less_up=_ratio(upload, up),
                times_less_down=_ratio(download, down),
            )
        )
    return found


def final_accuracy(run: Run) -> float | None:
    """Test accuracy [%] of a run that completed, None if its problem has none."""
    value = summarise_run(run).test_accuracy
    if value is None:
        return None
    return 100 * value if run.status == "completed" else DIVERGED


def _lost(reference: Run | None, run: Run) -> float | None:
    full = None if reference is None else final_accuracy(reference)
    own = final_accuracy(run)
    if full is None or own is None or full == DIVERGED:
        return None
    return full - own


def spread(values: Sequence[float | None]) -> Spread | None:
    """Median, lowest and highest of what is known.

    Of an even number with an infinity next to the middle, the median is that infinity.
    """
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    middle = (known[(len(known) - 1) // 2] + known[len(known) // 2]) / 2
    return Spread(middle, known[0], known[-1])


def _bytes(runs: Sequence[Run], column: str) -> float:
    """Median of the bytes of a whole run; one that ended early counts at its rate."""
    sizes = []
    for run in runs:
        total, final = getattr(run, column), summarise_run(run)
        if total is None or final.iterations == 0:
            continue
        planned = run.config.get("iterations") or final.iterations
        whole = run.status == "completed" or planned == final.iterations
        sizes.append(total[-1] if whole else total[-1] / final.iterations * planned)
    return float(np.median(sizes)) if sizes else math.nan


def _ratio(full: float, own: float) -> float:
    return full / own if own > 0 else math.nan


def family(run: Run) -> str:
    """Which methods share a colour: same algorithm, same feedback, same way down."""
    words = [str(lookup(run.config, "algorithm.kind"))]
    feedback = lookup(run.config, "feedback.kind")
    if feedback not in (None, "none"):
        words.append(str(feedback))
    downlink = lookup(run.config, "downlink.kind")
    if downlink not in (None, "dense"):
        words.append(f"{downlink} down")
    return ", ".join(words)
