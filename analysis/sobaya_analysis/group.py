"""Sort runs into sections (one problem each) and groups (equal but for the seed)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .configs import canonical, common_name, fingerprint, labels, lookup, printable
from .runs import Run


@dataclass(frozen=True, eq=False)
class Group:
    """Runs whose configs differ only in seed and name."""

    label: str
    runs: tuple[Run, ...]

    @property
    def config(self) -> dict[str, Any]:
        """Config common to all runs of the group, without seed and name."""
        return canonical(self.runs[0].config)

    @property
    def seeds(self) -> int:
        """Number of distinct seeds; runs without a known seed count one each."""
        known = {run.seed for run in self.runs if run.seed is not None}
        return len(known) + sum(run.seed is None for run in self.runs)


@dataclass(frozen=True, eq=False)
class Section:
    """All groups that solve one problem, so that their values share an axis."""

    title: str
    slug: str
    groups: tuple[Group, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs, group by group."""
        return tuple(run for group in self.groups for run in group.runs)


def is_uncompressed(config: Mapping[str, Any]) -> bool:
    """Whether this is the method that compresses nothing, to which others are compared."""
    return lookup(config, "algorithm.kind") == "soba"


def group_runs(runs: Sequence[Run]) -> tuple[Group, ...]:
    """Groups with distinct labels: uncompressed ones first, else in the order given."""
    members: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: not is_uncompressed(run.config)):
        members.setdefault(fingerprint(run.config), []).append(run)
    names = [common_name([run.name for run in group]) for group in members.values()]
    texts = labels([group[0].config for group in members.values()], names)
    return tuple(
        Group(text, tuple(group)) for text, group in zip(texts, members.values(), strict=True)
    )


def repeats(runs: Sequence[Run]) -> list[tuple[Run, Run]]:
    """Runs that are no samples of their own, each with the one that counts in its place.

    Runs of one config and seed have the same iterates, be it a copy of the folder or the run done
    again: of these the one that got furthest counts, the first of several. Where the seed is not
    known nothing can be said.
    """
    found: dict[tuple[str, int], list[Run]] = {}
    for run in runs:
        if run.seed is not None:
            found.setdefault((fingerprint(run.config), run.seed), []).append(run)
    pairs = []
    for same in found.values():
        best = max(same, key=lambda run: run.iteration[-1])
        pairs += [(run, best) for run in same if run is not best]
    return pairs


def sections(runs: Sequence[Run]) -> tuple[Section, ...]:
    """One section per kind of problem and data set, with a slug that is unique as a file name."""
    members: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        found = (lookup(run.config, "problem.kind"), lookup(run.config, "problem.dataset"))
        members.setdefault(tuple(str(part) for part in found if part is not None), []).append(run)
    result: list[Section] = []
    for key, part in members.items():
        title = printable(" · ".join(key)) or "runs"
        base = re.sub(r"[^a-z0-9]+", "-", title.lower())[:60].strip("-") or "runs"
        taken = {section.slug for section in result}
        slug = base
        while slug in taken:
            slug = f"{base}-{len(taken) + 1}"
        result.append(Section(title, slug, group_runs(part)))
    return tuple(result)


def baseline(group: Group, groups: Sequence[Group]) -> Group | None:
    """The uncompressed (soba) group to compare uploads with: same problem, workers, precision."""
    candidates = [g for g in groups if is_uncompressed(g.config)]
    if group in candidates:
        return group

    def same(other: Group) -> bool:
        keys = ("problem", "workers", "precision")
        return all(group.config.get(key) == other.config.get(key) for key in keys)

    return next((other for other in candidates if same(other)), None)
