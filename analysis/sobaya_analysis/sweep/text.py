"""Numbers of a sweep as texts of its tables."""

from __future__ import annotations

import math

from ..markup import human_bytes
from .numbers import Band, Measure

NONE = "\N{EN DASH}"


def best_steps(measure: Measure) -> str:
    """Which step sizes a method has where several were run, and by what data they are chosen."""
    data = "by test data" if measure.percent else "without test data"
    return f"best of the step sizes that were tried, chosen {data} on the same seeds"


def value(number: float | None, measure: Measure) -> str:
    """A value of the measure: accuracies with two digits, areas and norms with three."""
    if number is None or math.isnan(number):
        return NONE
    if math.isinf(number):
        return "diverged"
    if measure.area:
        return f"{number:.3f}"
    return f"{number:.2f}" if measure.percent else f"{number:.2e}"


def spread(found: Band | None, measure: Measure) -> str:
    """Median and, over more than one seed, the band: `97.10 [97.02, 97.21]`."""
    if found is None:
        return NONE
    middle = value(found.median, measure)
    if found.n == 1 or found.low == found.high:
        return middle
    return f"{middle} [{value(found.low, measure)}, {value(found.high, measure)}]"


def share(found: Band | None) -> str:
    """Median and band of shares, in percent."""
    if found is None:
        return NONE
    ends = (found.median, found.low, found.high)
    middle, low, high = ("diverged" if math.isinf(e) else f"{100 * e:.1f}" for e in ends)
    return middle if found.n == 1 or found.low == found.high else f"{middle} [{low}, {high}]"


def size(number: float) -> str:
    """Bytes with their unit; infinite ones belong to a target that was not reached."""
    if math.isnan(number):
        return NONE
    return "not reached" if math.isinf(number) else human_bytes(number)


def sizes(found: Band | None) -> str:
    """Median and band of bytes."""
    if found is None:
        return NONE
    if found.n == 1 or found.low == found.high:
        return size(found.median)
    return f"{size(found.median)} [{size(found.low)}, {size(found.high)}]"


def times(number: float | None) -> str:
    """How many times less."""
    if number is None or not math.isfinite(number):
        return NONE
    return f"{number:,.0f}" if number >= 99.5 else f"{number:.3g}"
