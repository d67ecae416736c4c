"""Final numbers per run and per group, and summary.csv."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from .configs import describe, lookup
from .curves import running_mean, window_for
from .group import Group, Section, baseline
from .runs import Floats, Run

LAST_EVALUATIONS = 5


@dataclass(frozen=True)
class RunSummary:
    """Final numbers of one run; None where the run has no such number."""

    iterations: int
    upper_loss: float | None
    """Running mean at the last row."""
    test_accuracy: float | None
    """Mean of the last five evaluations."""
    hypergradient_norm: float | None
    """Last evaluation."""
    upload_bytes: int
    download_bytes: int | None
    upload_bits_per_worker: int
    wall_seconds: float

    @property
    def upload_bytes_per_iteration(self) -> float | None:
        """Bytes all workers upload in one iteration; None before the first."""
        return self.upload_bytes / self.iterations if self.iterations > 0 else None


@dataclass(frozen=True)
class GroupSummary:
    """Medians over the runs of a group, and its place next to the uncompressed one."""

    algorithm: str
    compressor: str
    n_runs: int
    n_seeds: int
    iterations: tuple[int, int]
    """Fewest and most iterations done by a run."""
    test_accuracy: float | None
    hypergradient_norm: float | None
    upload_bytes: float
    upload_ratio: float | None
    """Bytes uploaded per iteration relative to the soba group of the same problem."""
    wall_seconds: float
    status: dict[str, int]
    """Number of runs in each status."""


def _known(values: Floats) -> Floats:
    """Recorded values only. Infinities stay: a run that diverged must not look well."""
    return values[~np.isnan(values)]


@cache
def summarise_run(run: Run) -> RunSummary:
    """Final numbers of one run."""
    loss = _known(running_mean(run.upper_loss, window_for(len(run.iteration))))
    accuracy = _known(run.test_accuracy)[-LAST_EVALUATIONS:]
    norm = _known(run.hypergradient_norm)
    return RunSummary(
        iterations=int(run.iteration[-1]),
        upper_loss=float(loss[-1]) if len(loss) else None,
        test_accuracy=float(accuracy.mean()) if len(accuracy) else None,
        hypergradient_norm=float(norm[-1]) if len(norm) else None,
        upload_bytes=int(run.upload_bytes[-1]),
        download_bytes=None if run.download_bytes is None else int(run.download_bytes[-1]),
        upload_bits_per_worker=int(run.upload_bits_per_worker[-1]),
        wall_seconds=float(run.wall_time[-1]),
    )


def median(values: Sequence[float | None]) -> float | None:
    """Median of the values that are known, None if none is."""
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def upload_rate(group: Group) -> float | None:
    """Median over runs of the bytes uploaded per iteration, all workers."""
    return median([summarise_run(run).upload_bytes_per_iteration for run in group.runs])


def upload_ratio(group: Group, groups: Sequence[Group]) -> float | None:
    """Upload per iteration relative to the uncompressed group; None if there is none."""
    other = baseline(group, groups)
    own, full = upload_rate(group), upload_rate(other) if other else None
    return own / full if own is not None and full else None


def summarise_group(group: Group, groups: Sequence[Group]) -> GroupSummary:
    """Medians over the seeds of a group; `groups` are those of its section."""
    runs = [summarise_run(run) for run in group.runs]
    iterations = [run.iterations for run in runs]
    return GroupSummary(
        algorithm=describe(lookup(group.config, "algorithm.kind") or "unknown"),
        compressor=describe(lookup(group.config, "compressor")),
        n_runs=len(runs),
        n_seeds=group.seeds,
        iterations=(min(iterations), max(iterations)),
        test_accuracy=median([run.test_accuracy for run in runs]),
        hypergradient_norm=median([run.hypergradient_norm for run in runs]),
        upload_bytes=float(np.median([run.upload_bytes for run in runs])),
        upload_ratio=upload_ratio(group, groups),
        wall_seconds=float(np.median([run.wall_seconds for run in runs])),
        status=dict(Counter(run.status for run in group.runs)),
    )


def csv_text(parts: Sequence[Section]) -> str:
    """summary.csv: one row per run, one column per number, empty where there is none."""
    rows = [
        _csv_row(section, group, run)
        for section in parts
        for group in section.groups
        for run in group.runs
    ]
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _csv_row(section: Section, group: Group, run: Run) -> dict[str, Any]:
    final = summarise_run(run)
    other = baseline(group, section.groups)
    full = upload_rate(other) if other else None
    own = final.upload_bytes_per_iteration
    return {
        "log": str(run.path),
        "name": run.name,
        "problem": section.title,
        "group": group.label,
        "algorithm": describe(lookup(run.config, "algorithm.kind") or "unknown"),
        "compressor": describe(run.config.get("compressor")),
        "seed": run.seed,
        "n_workers": run.n_workers,
        "n_ranks": run.n_ranks,
        "status": run.status,
        "stop_reason": run.stop_reason,
        "iterations": final.iterations,
        "final_upper_loss": final.upper_loss,
        "final_test_accuracy": final.test_accuracy,
        "final_hypergradient_norm": final.hypergradient_norm,
        "upload_bytes": final.upload_bytes,
        "download_bytes": final.download_bytes,
        "upload_bits_per_worker": final.upload_bits_per_worker,
        "upload_ratio_to_soba": own / full if own is not None and full else None,
        "wall_seconds": final.wall_seconds,
        **run.attributes,
    }
