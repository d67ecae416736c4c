"""The numbers of the page, from the logs of the runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ReportError
from ..runs import LOG_NAME, Floats, Run, load_run
from ..summary import summarise_run
from .variants import DENSE, Table, Variant

LOCAL, SHORT, DIRECT = "local", "short", "direct"
"""Folders of a variant's runs."""

WARM_UP = 10
"""Iterations at the start that are not timed: TCP widens its windows."""

MARGIN = 0.01
"""How far below the baseline's accuracy the target lies."""


DIRECT_SECONDS = 45
"""Variants that reach the target within this time over the slow network are run up to it."""


class RunsDifferError(ReportError):
    """Two runs of one variant do not belong together."""

    exit_code = 3


@dataclass(frozen=True, eq=False)
class Row:
    """One variant's numbers; None where there is no such run or the target is not reached."""

    variant: Variant
    iteration_ms: Floats
    """Milliseconds of each timed iteration over the slow network."""
    local: Run | None = None
    iterations: int | None = None
    """Iterations to the target."""
    upload_bytes: int | None = None
    """To the target, all workers."""
    download_bytes: int | None = None
    direct_seconds: float | None = None
    """Seconds to the target, measured over the slow network."""
    ceiling: float | None = None
    """Of a dense downlink: how many times faster than the baseline an iteration can be."""

    @property
    def longer_seconds(self) -> float:
        """To the target, by medians or as measured.

        Medians leave out the iterations that take long now and then.
        """
        return max(self.seconds or 0.0, self.direct_seconds or 0.0)

    @property
    def milliseconds(self) -> float:
        """Of an iteration over the slow network: the median."""
        return float(np.median(self.iteration_ms))

    @property
    def seconds(self) -> float | None:
        """To the target over the slow network: iterations times milliseconds."""
        return None if self.iterations is None else self.iterations * self.milliseconds / 1e3

    @property
    def accuracy(self) -> float | None:
        """Final test accuracy: mean of the last five evaluations."""
        if self.local is None or self.local.status != "completed":
            return None
        return summarise_run(self.local).test_accuracy


@dataclass(frozen=True, eq=False)
class Measurement:
    """All rows, the target, and the two rows that the others are compared to."""

    rows: tuple[Row, ...]
    target: float
    baseline: Row
    floor: Row
    workers: int
    ranks: int

    @property
    def fastest_soba(self) -> Row:
        """The uncompressed method whose iterations take the least time."""
        rows = [row for row in self.rows if row.variant.config["algorithm"]["kind"] == "soba"]
        return min(rows, key=lambda row: row.milliseconds)

    @property
    def best(self) -> Row | None:
        """The row that reaches the target first, by the longer of its two times."""
        reached = [row for row in self.rows if row.seconds is not None]
        return min(reached, key=lambda row: row.longer_seconds, default=None)


def iterations_to(run: Run, target: float) -> int | None:
    """Iterations at the first evaluation at or above the target whose next one is there, too."""
    above = run.test_accuracy >= target
    twice = np.flatnonzero(above[:-1] & above[1:])
    return int(run.eval_iteration[twice[0]]) if len(twice) else None


def target_of(baseline: Run) -> float:
    """The accuracy to be reached."""
    final = summarise_run(baseline).test_accuracy
    if final is None:
        raise RunsDifferError(f"{baseline.path}: no evaluation has a test accuracy")
    return final - MARGIN


def iteration_milliseconds(run: Run) -> Floats:
    """Milliseconds of each iteration after the warm-up, without those that end in an evaluation."""
    timed = run.iteration[1:] > WARM_UP
    timed &= ~np.isin(run.iteration[1:], run.eval_iteration)
    return 1e3 * np.diff(run.wall_time)[timed]


def check_same(local: Run, slow: Run) -> None:
    """Refuse runs whose losses or bytes differ in any iteration that both have done."""
    rows = min(len(local.iteration), len(slow.iteration))
    for column in ("iteration", "upper_loss", "upload_bytes", "download_bytes"):
        left, right = getattr(local, column)[:rows], getattr(slow, column)[:rows]
        if not np.array_equal(left, right, equal_nan=column == "upper_loss"):
            raise RunsDifferError(f"{slow.path} and {local.path} differ in {column}: one is older")


def find(folder: Path, variant: Variant, kind: str) -> Run | None:
    """A variant's run of this kind, if there is one."""
    log = folder / variant.name / kind / LOG_NAME
    return load_run(log) if log.is_file() else None


def directs(table: Table, folder: Path) -> list[tuple[str, int]]:
    """Variants that reach the target within `DIRECT_SECONDS`, with their iterations to it."""
    return [
        (row.variant.name, row.iterations)
        for row in measure(table, folder).rows
        if row.iterations and row.seconds is not None and row.seconds <= DIRECT_SECONDS
    ]


def measure(table: Table, folder: Path) -> Measurement:
    """Reads all runs below a folder; variants without a short run are left out."""
    by_name = {variant.name: variant for variant in table.variants}
    shorts = {}
    for variant in table.variants:
        run = find(folder, variant, SHORT)
        if run is not None and len(iteration_milliseconds(run)):
            shorts[variant.name] = run
    for name in (table.baseline, table.floor):
        if name not in shorts:
            raise RunsDifferError(f"{folder}: the run {name}/{SHORT} is missing or too short")
    baseline = find(folder, by_name[table.baseline], LOCAL)
    if baseline is None:
        raise RunsDifferError(f"{folder}: the run {table.baseline}/{LOCAL} is missing")
    target = target_of(baseline)
    floor = Row(by_name[table.floor], iteration_milliseconds(shorts[table.floor]))
    first = iteration_milliseconds(shorts[table.baseline])
    ceiling = float(np.median(first)) / floor.milliseconds
    rows = [
        _row(folder, by_name[name], run, target, ceiling)
        for name, run in shorts.items()
        if name != table.floor
    ]
    return Measurement(
        rows=tuple(rows),
        target=target,
        baseline=next(row for row in rows if row.variant.name == table.baseline),
        floor=floor,
        workers=shorts[table.baseline].n_workers or 0,
        ranks=shorts[table.baseline].n_ranks or 0,
    )


def _row(folder: Path, variant: Variant, short: Run, target: float, ceiling: float) -> Row:
    milliseconds = iteration_milliseconds(short)
    bound = ceiling if variant.downlink == DENSE else None
    local = find(folder, variant, LOCAL)
    if local is None:
        return Row(variant, milliseconds, ceiling=bound)
    check_same(local, short)
    iterations = iterations_to(local, target)
    if iterations is None or local.status != "completed":
        return Row(variant, milliseconds, local, ceiling=bound)
    at = int(np.searchsorted(local.iteration, iterations))
    return Row(
        variant,
        milliseconds,
        local,
        iterations,
        int(local.upload_bytes[at]),
        None if local.download_bytes is None else int(local.download_bytes[at]),
        _direct_seconds(folder, variant, local, iterations),
        bound,
    )


def _direct_seconds(folder: Path, variant: Variant, local: Run, iterations: int) -> float | None:
    """From the first iteration to the target's, evaluations before and after not counted."""
    run = find(folder, variant, DIRECT)
    if run is None or run.iteration[-1] <= iterations:
        return None
    check_same(local, run)
    at = int(np.searchsorted(run.iteration, iterations))
    return float(run.wall_time[at] - run.wall_time[0])
