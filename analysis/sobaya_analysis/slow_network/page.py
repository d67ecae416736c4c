"""The page: a table in Markdown, and all numbers as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from textwrap import fill
from typing import Any

import numpy as np

from .measure import DIRECT_SECONDS, MARGIN, WARM_UP, Measurement, Row

WANTED = (10, 5)
"""How many times faster the best variant is to be than the baseline, and than the fastest soba."""

HEAD = (
    ("method", "---"),
    ("downlink", "---"),
    ("y and z", "---"),
    ("iteration [ms]", "---:"),
    ("iterations", "---:"),
    ("time to target [s]", "---:"),
    ("measured [s]", "---:"),
    ("faster than star", "---:"),
    ("of ceiling", "---:"),
    ("uploaded [MB]", "---:"),
    ("downloaded [MB]", "---:"),
    ("final accuracy [%]", "---:"),
)
NONE = "-"


def markdown(found: Measurement, command: str, rate: str, stem: str) -> str:
    """The page."""
    base = config_of(found.baseline)
    ceiling = found.baseline.milliseconds / found.floor.milliseconds
    head = " | ".join(name for name, _ in HEAD)
    lines = " | ".join(line for _, line in HEAD)
    rows = "\n".join(f"| {' | '.join(cells(row, found))} |" for row in found.rows)
    return f"""# A slow network: time to soba's accuracy

    {command}

{facts(found, rate)}
The variants are those of [jobs/{stem}.json](../../jobs/{stem}.json).

{_fill(verdict(found))}

![Time to target by variant; accuracy against wall time]({stem}.png)

| {head} |
| {lines} |
{rows}

- **Target**: {100 * found.target:.2f} %, which is soba's test accuracy (mean of the last five
  evaluations) minus {100 * MARGIN:g} point. It is reached at the first evaluation at or above it
  whose next one is at or above it, too; evaluations are {base["evaluate"]["every"]} iterations \
apart.
- **Iteration**: median over the iterations of a run over the slow network, without the first
  {WARM_UP} and without evaluations.
- **Iterations** and **bytes** (packets of all workers, up to the target) are those of a run of
  {base["iterations"]:,} iterations on this machine alone. Neither the number of ranks nor the
  network changes a bit of a run, so they hold for the slow network as they stand: losses and bytes
  of the two runs were compared, and are equal in every iteration that both have.
- **Time to target** = iterations x iteration. **Measured**: by a run over the slow network up to
  the target, made where that takes at most {DIRECT_SECONDS} s.
- **Ceiling** of a dense downlink: iterations {ceiling:.2f} times faster than those of soba by star.
  It is measured, by a run that sends everything down and only one number each of x, y and z up:
  {found.floor.milliseconds:.1f} ms an iteration, directions included. **Of ceiling** is the share
  of it that a variant's iterations reach.
- The hosts share the cores of one machine, so the workers' computing takes longer than on hosts of
  their own; it is part of every time here.

All numbers: [{stem}.json]({stem}.json).
"""


def facts(found: Measurement, rate: str) -> str:
    """What was run, and on what."""
    base = config_of(found.baseline)
    problem, algorithm, partition = base["problem"], base["algorithm"], base["partition"]
    steps = ", ".join(f"{name} {algorithm[name]}" for name in ("alpha", "beta", "gamma"))
    return _fill(
        f"{found.ranks} hosts emulated on one machine, each joined to a switch by a link of {rate} "
        f"in each direction, with no added delay; one rank a host. The {found.workers} workers are "
        f"placed in blocks, {placement(found)} on the hosts, the server on the first one: all "
        "packets but those of its own workers come in through its link. "
        f"{problem['kind']}, {problem['dataset']}, hidden {problem['hidden']}, "
        f"{partition['kind']} {partition.get('concentration', '')}, mini-batches of "
        f"{problem['batch_lower']}, {base['precision']}, step sizes {steps}, seed {base['seed']}; "
        f"{_program(found)}."
    )


def _fill(text: str) -> str:
    return fill(text, 100, break_long_words=False, break_on_hyphens=False)


def config_of(row: Row) -> dict[str, Any]:
    """The config that ran, with every default; else as the table has it."""
    return row.variant.config if row.local is None else row.local.config


def placement(found: Measurement) -> str:
    """Workers by host, as `2, 2, 2, 1, 1`."""
    each, more = divmod(found.workers, found.ranks)
    return ", ".join(str(each + (rank < more)) for rank in range(found.ranks))


def verdict(found: Measurement) -> str:
    """What the best variant comes to."""
    best, others = found.best, (found.baseline, found.fastest_soba)
    if best is None or best.seconds is None:
        return "No variant reaches the target."
    head = f"The best variant is {title(best)}: {best.seconds:.1f} s to the target"
    if best.direct_seconds is not None:
        head += f", {best.direct_seconds:.1f} s as measured. By the longer time it is"
    else:
        head += ", which is"
    parts = []
    for other, wanted in zip(others, WANTED, strict=True):
        if other.seconds is None:
            continue
        times = other.seconds / best.longer_seconds
        word = "reached" if times >= wanted else "**not reached**"
        parts.append(
            f"{times:.1f} times faster than {other.variant.label} "
            f"(at least {wanted} were wanted: {word})"
        )
    return f"{head} {' and '.join(parts)}."


def title(row: Row) -> str:
    """A variant in words."""
    variant = row.variant
    if variant.downlink is None:
        return variant.label
    return f"{variant.label}; downlink {variant.downlink}; y and z {variant.y_z}"


def cells(row: Row, found: Measurement) -> list[str]:
    """One line of the table."""
    variant, base = row.variant, found.baseline
    faster = base.seconds / row.seconds if base.seconds and row.seconds else None
    share = base.milliseconds / row.milliseconds / row.ceiling if row.ceiling else None
    local = row.local
    diverged = local is not None and local.status != "completed"
    return [
        variant.label,
        variant.downlink or NONE,
        variant.y_z or NONE,
        f"{row.milliseconds:.1f}",
        "diverged" if diverged else _text(row.iterations, "{:,}", "not reached"),
        _text(row.seconds, "{:.1f}"),
        _text(row.direct_seconds, "{:.1f}"),
        _text(faster, "{:.2f}"),
        _text(None if share is None else 100 * share, "{:.0f} %"),
        _text(_mega(row.upload_bytes), "{:,.1f}"),
        _text(_mega(row.download_bytes), "{:,.1f}"),
        _text(None if row.accuracy is None else 100 * row.accuracy, "{:.2f}"),
    ]


def _text(value: float | None, form: str, none: str = NONE) -> str:
    return none if value is None else form.format(value)


def _mega(value: int | None) -> float | None:
    return None if value is None else value / 1e6


def _program(found: Measurement) -> str:
    runs = [row.local for row in found.rows if row.local is not None]
    names = {
        f"{run.attributes['program_version']} (git {run.attributes['git_commit']})" for run in runs
    }
    return f"sobaya {', '.join(sorted(names))}"


def numbers(found: Measurement, rate: str) -> str:
    """Everything as JSON."""
    content = {
        "rate": rate,
        "hosts": found.ranks,
        "workers": found.workers,
        "program": _program(found),
        "target_accuracy": found.target,
        "warm_up_iterations": WARM_UP,
        "dense_download": _times(found.floor),
    }
    # A line for each variant.
    lines = ",\n    ".join(json.dumps(_numbers(row)) for row in found.rows)
    head = json.dumps(content, indent=2).removesuffix("\n}")
    return f'{head},\n  "variants": [\n    {lines}\n  ]\n}}\n'


def _times(row: Row) -> dict[str, Any]:
    at: Sequence[float] = np.percentile(row.iteration_ms, (10, 90)).tolist()
    return {
        "iterations_timed": len(row.iteration_ms),
        "milliseconds_median": row.milliseconds,
        "milliseconds_mean": float(row.iteration_ms.mean()),
        "milliseconds_10_percent": at[0],
        "milliseconds_90_percent": at[1],
    }


def _numbers(row: Row) -> dict[str, Any]:
    local = row.local
    curve = [] if local is None else [round(float(value), 6) for value in local.test_accuracy]
    return {
        "name": row.variant.name,
        "config": config_of(row),
        "status": None if local is None else local.status,
        **_times(row),
        "iterations_to_target": row.iterations,
        "upload_bytes_to_target": row.upload_bytes,
        "download_bytes_to_target": row.download_bytes,
        "seconds_to_target": row.seconds,
        "seconds_to_target_measured": row.direct_seconds,
        "ceiling": row.ceiling,
        "final_test_accuracy": row.accuracy,
        "eval_iteration": [] if local is None else local.eval_iteration.tolist(),
        "test_accuracy": [value if np.isfinite(value) else None for value in curve],
    }
