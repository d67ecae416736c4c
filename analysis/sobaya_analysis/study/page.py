"""Write the Markdown page of a study."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ..configs import describe, lookup, number
from ..summary import LAST_EVALUATIONS
from .model import Study
from .results import DIVERGED, MethodResult, Spread

_NONE = "-"
_HEAD = (
    ("method", "---"),
    ("test accuracy [%]", "---"),
    ("points lost", "---"),
    ("uploaded [bytes]", "---:"),
    ("times less up", "---:"),
    ("times less down", "---:"),
    ("runs", "---"),
)


def page(study: Study, results: Sequence[MethodResult], command: str, has_figure: bool) -> str:
    """The page; figure and report are in the folder of the study's name beside it."""
    runs = [run for result in results for run in result.runs]
    first = next((r for r in results if r.method.name == study.reference), results[0])
    programs = sorted({_program(run.attributes) for run in runs})
    seeds = ", ".join(str(seed) for seed in study.seeds)
    figure = (
        f"\n![Test accuracy against bytes, one marker per method]({study.name}/tradeoff.png)\n\n"
        "Markers are medians, bars go from the lowest to the highest seed. What lies further down\n"
        "stands on the lower edge, and the legend says where; markers that would cover one\n"
        "another are moved sideways.\n"
        if has_figure
        else ""
    )
    lines = textwrap.wrap(study.text, 110, break_on_hyphens=False)
    text = "".join(f"{line}\n" for line in ["", *lines]) if lines else ""
    rows = [_row([name for name, _ in _HEAD]), _row([line for _, line in _HEAD])]
    rows += [_row(_cells(result)) for result in results]
    return f"""# {study.title}

    {command}

with `{study.base}` and `configs/studies/{study.name}.json`, which hold every setting:
{_setting(first.runs[0].config)}.
Seeds {seeds}; sobaya {", ".join(programs)}.

Test accuracy is the mean of a run's last {_count(LAST_EVALUATIONS)} evaluations: median (lowest to
highest) over the seeds. Points lost are against the run of `{study.reference}` with the same seed:
median (lowest to highest) of the differences; below 0 the method is ahead. A run that diverges
counts as worse than all others. Bytes are lengths of packets, headers in, of all workers in a run.
{text}{figure}
{chr(10).join(rows)}

Learning curves and all numbers: [{study.name}/report.html]({study.name}/report.html),
[{study.name}/summary.csv]({study.name}/summary.csv).
"""


def _cells(result: MethodResult) -> list[str]:
    total = len(result.runs)
    return [
        result.method.label.replace("|", "\\|"),
        _spread(result.accuracy),
        _spread(result.lost),
        _NONE if math.isnan(result.upload) else f"{result.upload:,.0f}",
        _times(result.times_less_up),
        _times(result.times_less_down),
        f"{total}" if result.completed == total else f"{result.completed} of {total} completed",
    ]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _spread(found: Spread | None) -> str:
    if found is None:
        return _NONE
    if found.low == found.high:
        return _points(found.median)
    return f"{_points(found.median)} ({_points(found.low)} to {_points(found.high)})"


def _points(value: float) -> str:
    if value in (DIVERGED, -DIVERGED):
        return "diverged"
    # A negative number that rounds to nothing is nothing.
    return f"{round(value, 2) + 0.0:.2f}"


def _times(value: float) -> str:
    if math.isnan(value):
        return _NONE
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.3g}"


def _count(value: int) -> str:
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    return words[value] if value < len(words) else str(value)


def _program(attributes: Mapping[str, str]) -> str:
    return f"{attributes.get('program_version')} (git {attributes.get('git_commit')})"


def _setting(config: Mapping[str, Any]) -> str:
    """What all methods have in common, on two lines, from the config of the reference."""

    def value(dotted: str) -> str:
        found = lookup(config, dotted)
        return f"{found:,}" if isinstance(found, int) else number(found)

    problem = lookup(config, "problem.kind")
    words = [str(problem)]
    if lookup(config, "problem.dataset"):
        words += [value("problem.dataset"), f"hidden {value('problem.hidden')}"]
    words.append(f"{value('workers')} workers")
    if lookup(config, "partition"):
        words.append(describe(lookup(config, "partition")))
    if lookup(config, "problem.batch_lower"):
        words.append(f"mini-batches of {value('problem.batch_lower')}")
    steps = ", ".join(
        f"{key} {value(f'algorithm.{key}')}"
        for key in ("alpha", "beta", "gamma", "rho")
        if lookup(config, f"algorithm.{key}") is not None
    )
    lines = [", ".join(words), f"{value('iterations')} iterations, {value('precision')}, {steps}"]
    return ",\n".join(lines)
