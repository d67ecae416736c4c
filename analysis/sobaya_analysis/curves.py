"""The numbers behind the plots: smoothing, joins by iteration, median and band over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .runs import Floats, Integers, Run

BAND = (0.2, 0.8)
"""Quantiles over seeds between which the band is drawn."""
LARGEST = 1e30
"""What is larger, as runs come to that diverge, counts as infinite: beside it nothing else would be
seen, and the limits of an axis that held it could leave the finite numbers."""
SMALLEST = 1e-100
"""What is smaller has no place on a logarithmic axis."""

_WINDOW_SHARE = 50
_WINDOW_MAX = 501


@dataclass(frozen=True)
class Axis:
    """A horizontal axis: the column of the log it reads, its name with unit, its scale."""

    column: str
    label: str
    log: bool = False


@dataclass(frozen=True)
class Metric:
    """A vertical axis. `noisy` metrics are mini-batch means, one per row, and get smoothed."""

    column: str
    label: str
    noisy: bool = False
    log: bool = False
    learnt: bool = False
    """What the untrained model has says nothing: limits leave the start out."""


AXES = (
    Axis("iteration", "iteration"),
    Axis("upload_bits_per_worker", "uploaded bits per worker", log=True),
    Axis("wall_time", "wall time [s]"),
)
METRICS = (
    Metric("upper_loss", "upper-level loss", noisy=True),
    Metric("test_accuracy", "test accuracy", learnt=True),
    Metric("hypergradient_norm", "hypergradient norm", log=True),
    Metric("consensus_error_x", "consensus error of x", log=True),
)


@dataclass(frozen=True, eq=False)
class Curve:
    """Median and band over the runs of a group at P iterations; all arrays have shape (P,)."""

    x: Floats
    median: Floats
    low: Floats
    high: Floats
    n: int
    """Number of runs with any data."""
    diverged: int = 0
    """Number of runs with values too large to be shown."""

    def __len__(self) -> int:
        return len(self.x)


def is_shown(values: Floats) -> NDArray[np.bool_]:
    """Which values are neither NaN nor so large that they count as infinite; shape as given."""
    return np.abs(values) <= LARGEST


def window_for(n_rows: int) -> int:
    """Odd width of the running mean: 2 % of the rows, at most 501."""
    return min(n_rows // _WINDOW_SHARE, _WINDOW_MAX - 1) | 1


def running_mean(values: Floats, window: int) -> Floats:
    """Centred running mean of shape (R,); NaN rows are left out of it and stay NaN.

    Near the start the window shrinks on both sides, so that a steep first descent is not
    averaged away; near the end only its right side does, so that the last value is a mean.
    """
    if len(values) == 0:
        return values
    valid = np.isfinite(values)
    known = np.where(valid, values, 0.0)
    half = min(window // 2, len(values) - 1)
    ones = np.ones(2 * half + 1)
    stop = half + len(values)
    total = np.convolve(known, ones)[half:stop]
    count = np.convolve(valid.astype(np.float64), ones)[half:stop]
    first = int(np.argmax(valid))
    for row in range(first, min(first + half, len(values))):
        inside = slice(first, 2 * row - first + 1)
        total[row], count[row] = known[inside].sum(), valid[inside].sum()
    return np.where(valid, total / np.maximum(count, 1.0), np.nan)


def row_of(iteration: Integers, wanted: Integers) -> Integers:
    """Index of the last row at or before each wanted iteration; -1 where there is none."""
    return np.searchsorted(iteration, wanted, side="right") - 1


def series(
    run: Run, metric: Metric, axis: Axis, window: int = 1
) -> tuple[Integers, Floats, Floats]:
    """Iteration, x and y of one run where y can be shown and, on logarithmic axes, x > 0 and y > 0.

    A noisy metric is smoothed over `window` rows, all others are returned as they are.
    """
    y: Floats = getattr(run, metric.column)
    y = np.where(is_shown(y), y, np.nan)
    if metric.noisy and window > 1:
        y = running_mean(y, window)
    x = np.asarray(getattr(run, axis.column), dtype=np.float64)
    if metric.noisy:
        iteration = run.iteration
        known = np.ones(len(y), dtype=bool)
    else:
        iteration = run.eval_iteration
        row = row_of(run.iteration, iteration)
        known = row >= 0
        x = iteration.astype(np.float64) if axis.column == "iteration" else x[row]
    keep = known & np.isfinite(y) & np.isfinite(x)
    if axis.log:
        keep &= x > 0
    if metric.log:
        # As all agents agree at the start.
        keep &= y > SMALLEST
    return iteration[keep], x[keep], y[keep]


def has_data(runs: Sequence[Run], metric: Metric) -> bool:
    """Whether any of the runs has a value of the metric that can be shown."""
    return any(is_shown(getattr(run, metric.column)).any() for run in runs)


def median_curve(runs: Sequence[Run], metric: Metric, axis: Axis) -> Curve:
    """Median and 20-80 % band over runs, iteration by iteration.

    x is the median over the same runs at that iteration, so one curve has the same heights on
    all three axes. An iteration is drawn if at least half of the runs have a value there.
    """
    window = window_for(max(len(run.iteration) for run in runs))
    parts = []
    for run in runs:
        iteration, x, y = series(run, metric, axis, window)
        if len(y):
            parts.append((iteration, x, y))
    if not parts:
        empty = np.empty(0)
        return Curve(empty, empty, empty, empty, 0)
    union = np.unique(np.concatenate([iteration for iteration, _, _ in parts]))
    x_all = np.full((len(parts), len(union)), np.nan)
    y_all = np.full((len(parts), len(union)), np.nan)
    for k, (iteration, x, y) in enumerate(parts):
        at = np.searchsorted(union, iteration)
        x_all[k, at] = x
        y_all[k, at] = y
    enough = 2 * np.isfinite(y_all).sum(axis=0) >= len(parts)
    x_all, y_all = x_all[:, enough], y_all[:, enough]
    x = np.maximum.accumulate(quantile(x_all, 0.5))
    low, high = (quantile(y_all, q) for q in BAND)
    diverged = sum(bool((np.abs(getattr(run, metric.column)) > LARGEST).any()) for run in runs)
    return Curve(x, quantile(y_all, 0.5), low, high, len(parts), diverged)


def quantile(values: Floats, q: float) -> Floats:
    """Quantile over axis 0 of shape (n, P), linear between order statistics, without NaN."""
    ordered = np.sort(values, axis=0)
    count = np.isfinite(values).sum(axis=0)
    place = q * np.maximum(count - 1, 0)
    below = np.floor(place).astype(np.int64)
    above = np.ceil(place).astype(np.int64)
    low = np.take_along_axis(ordered, below[np.newaxis], axis=0)[0]
    high = np.take_along_axis(ordered, above[np.newaxis], axis=0)[0]
    return low + (place - below) * (high - low)


def thin(length: int, most: int) -> NDArray[np.intp]:
    """At most `most` evenly spaced indices into `length` points, first and last included."""
    if length <= most:
        return np.arange(length)
    return np.unique(np.linspace(0, length - 1, most).round().astype(np.intp))
