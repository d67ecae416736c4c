"""The page of one or more sweeps, and the list of parts that it is made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from ..configs import printable
from ..markup import counted, document, figure, table
from . import (
    against,
    consensus,
    equal_bytes,
    heatmap,
    learning,
    phases,
    recovered,
    speedup,
    stability,
    target,
    tradeoff,
    traffic,
    weights,
)
from .experiment import Experiment
from .model import COMPLETED, STATES
from .numbers import Measure, visible_measures
from .part import Choices, Part, Picture

Maker = Callable[[Experiment, Measure | None, Choices], list[Part]]
MAKERS: tuple[Maker, ...] = (
    traffic.parts,
    weights.parts,
    consensus.parts,
    recovered.parts,
    tradeoff.parts,
    learning.parts,
    equal_bytes.parts,
    target.parts,
    against.parts,
    heatmap.parts,
    stability.parts,
    speedup.parts,
    phases.parts,
)
"""Each looks at an experiment and makes the parts to which its data is enough."""

_OPEN_PICTURES = 2


@dataclass(frozen=True, eq=False)
class Chapter:
    """An experiment with its parts; `slug` begins the names of its files, if it is not alone."""

    slug: str
    experiment: Experiment
    parts: tuple[Part, ...]

    def files(self) -> dict[str, bytes]:
        """Its figures by file name."""
        return {
            f"{self.slug}{picture.name}.{kind}": content
            for part in self.parts
            for picture in part.pictures
            for kind, content in picture.images.items()
        }


def chapter(slug: str, experiment: Experiment, choices: Choices) -> Chapter:
    """Make all parts that apply."""
    measure = choices.measure_of(visible_measures(experiment.cells))
    parts = [part for make in MAKERS for part in make(experiment, measure, choices)]
    return Chapter(slug, experiment, tuple(parts))


def html(chapters: Sequence[Chapter]) -> str:
    """The page, with all figures in it."""
    members = sum(len(one.experiment.sweep.members) for one in chapters)
    lead = (
        "Distributed bilevel optimization with communication compression: "
        f"{counted(members, 'run')} of {counted(len(chapters), 'sweep')}. "
        "Bands are over seeds."
    )
    body = "\n".join(_chapter(one) for one in chapters)
    return document("Sobaya sweep", lead, body, "Runs: summary.csv, groups: groups.csv.")


def _chapter(one: Chapter) -> str:
    experiment = one.experiment
    sweep = experiment.sweep
    states = [member.state for member in sweep.members]
    counts = ", ".join(f"{states.count(s)} {s}" for s in STATES if s in states)
    axes = ", ".join(experiment.axes) or "none but the algorithm"
    texts = [
        f"<section>\n<h2>{escape(printable(sweep.name))}</h2>",
        f'<p class="soft">{counted(len(states), "run")}: {counts}. Varied: {escape(axes)}.</p>',
        *[_part(part) for part in one.parts],
    ]
    if not one.parts:
        texts.append('<p class="soft">No run has recorded anything yet.</p>')
    texts += [_unfinished(experiment), _members(experiment), _config(experiment), "</section>"]
    return "\n".join(text for text in texts if text)


def _part(part: Part) -> str:
    texts = [f"<h3>{escape(part.title)}</h3>"]
    pictures = [_picture(picture) for picture in part.pictures]
    texts += pictures[:_OPEN_PICTURES]
    if len(pictures) > _OPEN_PICTURES:
        more = "\n".join(pictures[_OPEN_PICTURES:])
        count = counted(len(pictures) - _OPEN_PICTURES, "more figure")
        texts.append(f"<details><summary>{count}</summary>\n{more}\n</details>")
    if part.table is not None:
        head = [(escape(name), kind) for name, kind in part.table.head]
        texts.append(table(head, [[escape(cell) for cell in row] for row in part.table.rows]))
    texts.append(f'<p class="note">{escape(part.text)}</p>')
    return "\n".join(texts)


def _picture(picture: Picture) -> str:
    return figure(picture.images["png"], picture.title, escape(picture.title))


def _unfinished(experiment: Experiment) -> str:
    """Runs that did not complete, with the reason."""
    rows = [
        [
            escape(cell.label),
            str(member.seed),
            escape(member.hash),
            escape(member.state),
            escape(printable(member.reason, 160)),
        ]
        for cell in experiment.all_cells
        for member in cell.members
        if member.state != COMPLETED
    ]
    if not rows:
        return ""
    head = [("method", "k"), ("seed", "n"), ("folder", ""), ("state", ""), ("reason", "")]
    count = counted(len(rows), "run")
    return f"<details><summary>{count} not completed</summary>\n{table(head, rows)}\n</details>"


def _members(experiment: Experiment) -> str:
    rows = [
        [escape(cell.label), " ".join(f"{m.seed}: {escape(m.hash)}" for m in cell.members)]
        for cell in experiment.all_cells
    ]
    head = [("method", "k"), ("seed: folder", "")]
    return f"<details><summary>Folders</summary>\n{table(head, rows)}\n</details>"


def _config(experiment: Experiment) -> str:
    first: Mapping[str, object] = experiment.cells[0].config
    return (
        f"<details><summary>Configuration of {escape(experiment.cells[0].label)}</summary>\n"
        f"<pre>{escape(json.dumps(first, indent=2))}</pre>\n</details>"
    )
