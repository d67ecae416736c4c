"""Write the Markdown page of a study."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..configs import describe, lookup, number, printable
from ..markup import counted, seconds
from ..runs import Run
from ..sweep.experiment import Experiment
from ..sweep.model import COMPLETED, DIVERGED, Member
from ..sweep.part import Part
from .model import ACCURACIES, Study
from .tuning import Choice

_WIDTH = 110
EMBEDDED = 2
"""Pictures of a part that the page shows; it links the others."""
_BORDER = "\N{DAGGER}"
"""Marks a value at the border of its grid."""
_DATA = {
    "test_accuracy": "test data",
    "solution_accuracy": "test data",
    "validation_loss": "the upper level's own data, without test data",
    "objective": "the upper level's own data, without test data",
    "hypergradient_norm": "the data of both levels, without test data",
}
"""On what each measure of tuning rests."""


@dataclass(frozen=True, eq=False)
class Content:
    """All that the page tells."""

    study: Study
    command: str
    """What made it."""
    experiment: Experiment
    parts: Sequence[Part]
    choices: Sequence[Choice]
    """Empty if nothing was tuned."""
    tuning_runs: Sequence[Run]
    files: Collection[str]
    """Names of what stands in the folder beside the page."""
    source: str
    """Path of the study's file from the page."""


def page(content: Content) -> str:
    """The page; figures and tables are in the folder of the study's name beside it."""
    study = content.study
    blocks = [f"# {study.title}", f"    {content.command}"]
    blocks += [wrapped(paragraph) for paragraph in study.text.split("\n\n") if paragraph]
    blocks.append(_origin(content))
    if content.choices:
        blocks += _tuning(study, content.choices)
    for part in content.parts:
        blocks += _part(study.name, part, content.files)
    blocks.append(_files(study.name, content.files))
    return "\n\n".join(blocks) + "\n"


def wrapped(text: str) -> str:
    """A paragraph in lines."""
    return "\n".join(textwrap.wrap(text, _WIDTH, break_on_hyphens=False, break_long_words=False))


def table(head: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> str:
    """Table of Markdown cells; a column of class n holds numbers."""
    lines = [[name for name, _ in head], ["---:" if kind == "n" else "---" for _, kind in head]]
    lines += rows
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(text: str) -> str:
    """Text in which Markdown finds no marks of its own."""
    for mark in "\\`*|<":
        text = text.replace(mark, f"\\{mark}")
    return text


def _origin(content: Content) -> str:
    """Which runs these are, of what program, on what machine."""
    study, experiment = content.study, content.experiment
    runs = [run for cell in experiment.all_cells for run in cell.runs]
    members = experiment.sweep.members
    seeds = sorted({member.seed for member in members if member.seed is not None})
    texts = [
        f"The study is [{escaped(str(study.path))}]({content.source}){_start(study)}: "
        f"{setting(members[0].config)}.",
        f"{counted(len(members), 'run')}, seeds {', '.join(map(str, seeds))}"
        + (f", after {counted(len(content.tuning_runs), 'run')} for tuning" * bool(content.choices))
        + "."
        + _left_out(members),
    ]
    all_runs = [*runs, *content.tuning_runs]
    programs = sorted({_program(run.attributes) for run in all_runs})
    machines = sorted({run.attributes.get("cpu", "") for run in all_runs} - {""})
    spent = sum(float(run.wall_time[-1]) for run in all_runs)
    if programs:
        texts.append(f"Sobaya {', '.join(programs)}{_on(machines)};")
        texts.append(f"all runs together took {seconds(spent)} s, one after the other.")
    return wrapped(" ".join(printable(text, 10_000) for text in texts))


def _left_out(members: Sequence[Member]) -> str:
    bad = [member.state for member in members if member.state not in (COMPLETED, DIVERGED)]
    counts = ", ".join(f"{bad.count(state)} {state}" for state in dict.fromkeys(bad))
    return f" Without those that did not end: {counts}." if bad else ""


def _start(study: Study) -> str:
    if not study.base_name:
        return ""
    return f", which starts from `{os.path.normpath(study.path.parent / study.base_name)}`"


def _program(attributes: Mapping[str, str]) -> str:
    version, commit = attributes.get("program_version"), attributes.get("git_commit")
    return f"{version} (git {commit or 'unknown'})"


def _on(machines: Sequence[str]) -> str:
    return f" on {', '.join(machines)}" if machines else ""


def setting(config: Mapping[str, Any]) -> str:
    """What a study is about in a line, from the config of its first run."""
    words = []
    problem = lookup(config, "problem")
    for key in ("kind", "dataset", "hidden", "dim_upper", "dim_lower"):
        value = problem.get(key) if isinstance(problem, Mapping) else None
        if value is not None:
            label = "" if key in ("kind", "dataset") else f"{key.replace('_', ' ')} "
            words.append(f"{label}{describe(value)}")
    words.append(f"{number(config.get('workers'))} workers")
    if config.get("partition"):
        words.append(f"partition {describe(config['partition'])}")
    words += [f"{number(config.get('iterations'))} iterations", str(config.get("precision"))]
    return ", ".join(words)


def _tuning(study: Study, choices: Sequence[Choice]) -> list[str]:
    tuning = study.tuning
    if tuning is None:
        return []
    measure = choices[0].measure
    keys = list(dict.fromkeys(key for choice in choices for key in choice.tuned))
    head = [("method", "k"), *[(key, "n") for key in keys], (measure, "n"), ("runs", "")]
    rows = [
        [
            escaped(choice.label),
            *[_chosen(choice, key) for key in keys],
            f"{choice.value:.4g}",
            _tried(choice),
        ]
        for choice in choices
    ]
    axes = "; ".join(
        f"{axis} in {', '.join(describe(v) for v in values)}"
        for axis, values in tuning.grid.items()
    )
    rule = "highest" if measure in ACCURACIES else "lowest"
    fixed = ", ".join(f"{key} {describe(value)}" for key, value in tuning.settings.items())
    text = (
        f"Every method was run on the same grid ({axes}) with {fixed or 'one seed'}, "
        f"and that with the {rule} {measure} is taken ({averaged(choices)}): chosen by "
        f"{_DATA[measure]}. A run that diverged counts as worse than all others."
    )
    if any(choice.unmeasured for choice in choices):
        text += f" So does one without {measure}: the lower level of its end could not be solved."
    if any(choice.at_border for choice in choices):
        text += f" {_BORDER}: at the border of the grid, a better value may lie beyond."
    return ["## Chosen step sizes", table(head, rows), wrapped(escaped(text))]


def _tried(choice: Choice) -> str:
    words = [str(choice.tried)]
    if choice.diverged:
        words.append(f"{choice.diverged} diverged")
    if choice.unmeasured:
        words.append(f"{choice.unmeasured} without {choice.measure}")
    return ", ".join(words)


def averaged(choices: Sequence[Choice]) -> str:
    """Of what the values are means, by what the runs have."""
    known = [choice.averaged for choice in choices if choice.averaged[1]]
    low, high = min((few for few, _ in known), default=1), max((n for _, n in known), default=1)
    if high == 1:
        return "its last value"
    return f"mean of the last {high if low == high else f'{low} to {high}'} values"


def _chosen(choice: Choice, key: str) -> str:
    if key not in choice.tuned:
        return "-"
    value = escaped(describe(choice.tuned[key]))
    return f"{value} {_BORDER}" if key in choice.at_border else value


def _part(folder: str, part: Part, files: Collection[str]) -> list[str]:
    blocks = [f"## {part.title}"]
    links = []
    for place, picture in enumerate(part.pictures):
        png = f"{folder}/{picture.name}.png"
        if place < EMBEDDED:
            blocks.append(f"![{escaped(picture.title)}]({png})")
        elif f"{picture.name}.png" in files:
            links.append(f"[{escaped(picture.title)}]({png})")
    if links:
        blocks.append(wrapped("More: " + ", ".join(links) + "."))
    if part.table is not None:
        head = [(escaped(name), kind) for name, kind in part.table.head]
        rows = [[escaped(cell) for cell in row] for row in part.table.rows]
        blocks.append(table(head, rows))
    return [*blocks, wrapped(escaped(part.text))]


def _files(folder: str, files: Collection[str]) -> str:
    names = ["report.html", "summary.csv", "groups.csv", "steps.csv", "final.json"]
    links = [f"[{name}]({folder}/{name})" for name in names if name in files]
    text = f"All numbers: {', '.join(links)}. final.json is the final sweep with every setting."
    if "report.html" not in files:
        text += " The report with all figures is too large to stand here; it is made with the runs."
    return wrapped(text)
