"""Sort a sweep by what it varies: features, cells (members equal but for the seed), panels."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..configs import canonical, fingerprint, flatten, printable
from ..group import Group
from ..runs import Run
from .labels import COMPRESSOR, RATIO, features, phrases, telling
from .model import COMPLETED, Member, Sweep

KIND = "algorithm.kind"
STEPS = ("algorithm.alpha", "algorithm.beta", "algorithm.gamma")
"""Step sizes. Where a figure is not about them, each line has the best of those that were tried."""

_ORDER = (KIND, "compressor.", "feedback.", "downlink.", "workers", "partition.", "problem.")
OF_A_METHOD = (
    "algorithm.",
    "compressor.",
    "feedback.",
    "downlink.",
    "wire.",
    "topology.",
    "mixing.",
    "gossip.",
)
"""Settings in which a method may differ from the one it is compared with."""
MOST_LINES = 6
"""Lines that one panel may hold when they are not one per algorithm."""


@dataclass(frozen=True, eq=False)
class Cell:
    """Members that differ only by seed."""

    label: str
    kind: str
    """Kind of the algorithm."""
    settings: Mapping[str, Any]
    """Value of each axis of the experiment; None where the method has no such key."""
    config: Mapping[str, Any]
    members: tuple[Member, ...]
    name: str = ""
    """What those who made the sweep call the method; may be empty."""
    place: int = 0
    """Of its name among those of the sweep."""

    @property
    def method(self) -> str:
        """Its name, else its algorithm."""
        return self.name or self.kind

    @property
    def runs(self) -> tuple[Run, ...]:
        """Logs of the members that have one."""
        return tuple(member.run for member in self.members if member.run is not None)

    @property
    def completed(self) -> tuple[Run, ...]:
        """Logs of the members that ended well."""
        return tuple(m.run for m in self.members if m.run is not None and m.state == COMPLETED)

    @property
    def group(self) -> Group:
        """The same as a group of the plain report."""
        return Group(self.label, self.runs)


@dataclass(frozen=True, eq=False)
class Experiment:
    """A sweep in cells. An axis is a key that takes two values or more with one method."""

    sweep: Sweep
    cells: tuple[Cell, ...]
    """The methods that are compared."""
    axes: tuple[str, ...]
    bounds: tuple[Cell, ...] = ()
    """No methods, but what they are measured between."""
    scale: tuple[str, str] | None = None
    """Names of the bounds: where nothing is recovered, and where everything is."""

    @property
    def all_cells(self) -> tuple[Cell, ...]:
        """Methods and bounds."""
        return (*self.cells, *self.bounds)

    @property
    def step_axes(self) -> tuple[str, ...]:
        """Axes that are step sizes."""
        return tuple(axis for axis in self.axes if axis in STEPS)


@dataclass(frozen=True, eq=False)
class Panel:
    """Cells that are drawn together; `title` says what they share, empty if there is no other."""

    title: str
    cells: tuple[Cell, ...]


def experiment(
    sweep: Sweep,
    names: Mapping[str, str] | None = None,
    tuned: Collection[str] = (),
    scale: tuple[str, str] | None = None,
) -> Experiment:
    """Cells of a sweep, soba first and else in the order of its file, and its axes.

    `names` has the methods' names by hash of the members, as far as they have any. Keys that were
    `tuned` for each method before are parts of the methods, and no axes. Those named in `scale`
    become bounds, if others are left.
    """
    found: dict[str, list[Member]] = {}
    for member in sweep.members:
        found.setdefault(fingerprint(member.config), []).append(member)
    lists = sorted(found.values(), key=lambda members: kind_of(members[0].config) != "soba")
    flats = [features(members[0].config) for members in lists]
    set_keys = {key for member in sweep.members for key in flatten(member.settings)}
    called = [(names or {}).get(members[0].hash, "") for members in lists]
    distinct = list(dict.fromkeys(called))
    keys = tuple(key for key in axes_of(flats, set_keys, called) if key not in tuned)
    cells = [
        Cell(
            label="",
            kind=kind_of(members[0].config),
            settings={key: flat.get(key) for key in keys},
            config=canonical(members[0].config),
            members=tuple(members),
            name=name,
            place=distinct.index(name),
        )
        for members, flat, name in zip(lists, flats, called, strict=True)
    ]
    labelled = relabelled(cells)
    methods = tuple(cell for cell in labelled if cell.name not in (scale or ()))
    if scale is None or not methods:
        return Experiment(sweep, labelled, keys)
    bounds = [cell for cell in labelled if cell not in methods]
    bounds.sort(key=lambda cell: scale.index(cell.name))
    return Experiment(sweep, methods, keys, tuple(bounds), scale)


def kind_of(config: Mapping[str, Any]) -> str:
    """Kind of the algorithm."""
    algorithm = config.get("algorithm")
    kind = algorithm.get("kind") if isinstance(algorithm, Mapping) else None
    return printable(kind) if isinstance(kind, str) else "unknown"


def axes_of(
    flats: Sequence[Mapping[str, Any]], set_keys: set[str], names: Sequence[str]
) -> tuple[str, ...]:
    """Keys that the sweep sets and that vary within at least one algorithm, or method of a name."""
    compressors = any(key.split(".")[0] == "compressor" for key in set_keys)
    found = []
    for key in {key for flat in flats for key in flat} - {KIND}:
        named = key in set_keys or (compressors and key.startswith("compressor."))
        values: dict[Any, set[str]] = {}
        for flat, name in zip(flats, names, strict=True):
            values.setdefault(name or flat.get(KIND), set()).add(repr(flat.get(key)))
        if named and any(len(of_kind) > 1 for of_kind in values.values()):
            found.append(key)
    return tuple(sorted(found, key=_rank))


def _rank(key: str) -> tuple[int, int, str]:
    place = next((i for i, first in enumerate(_ORDER) if key.startswith(first)), len(_ORDER))
    return place, 0 if key.endswith(".kind") else 1 if key == RATIO else 2, key


def relabelled(cells: Sequence[Cell], without: Sequence[str] = ()) -> tuple[Cell, ...]:
    """Cells whose labels say the algorithm and what varies among cells of the same algorithm.

    A method's name stands for its algorithm. Where the compressor's kind tells variants of one
    algorithm apart, the others say theirs, too.
    """
    keys = [key for key in (cells[0].settings if cells else ()) if key not in without]
    shown: dict[str, list[str]] = {}
    for cell in cells:
        same = [other.settings for other in cells if other.method == cell.method]
        shown[cell.method] = telling(keys, same)
    kinds_vary = any(COMPRESSOR in of_method for of_method in shown.values())

    def of(cell: Cell) -> tuple[Mapping[str, Any], list[str], str]:
        own = shown[cell.method]
        compressor = features(cell.config).get(COMPRESSOR, "")
        if kinds_vary and not cell.name and compressor != "identity":
            own = [key for key in keys if key in (*own, COMPRESSOR)]
        return cell.settings, own, compressor

    found = phrases([cell.method for cell in cells], [of(cell) for cell in cells])
    texts = [printable(text) for text in found]
    return tuple(
        replace(cell, label=f"{text} #{texts[: i + 1].count(text)}" if text in texts[:i] else text)
        for i, (cell, text) in enumerate(zip(cells, texts, strict=True))
    )


def merged_steps(
    cells: Sequence[Cell],
    step_axes: Sequence[str],
    score: Callable[[Cell], float],
) -> tuple[Cell, ...]:
    """Of cells that differ only in step sizes the one with the best score, in the order given."""
    if not step_axes:
        return tuple(cells)
    best: dict[tuple[str, ...], Cell] = {}
    for cell in cells:
        rest = (
            cell.method,
            *(repr(v) for k, v in cell.settings.items() if k not in step_axes),
        )
        known = best.get(rest)
        if known is None or score(cell) > score(known):
            best[rest] = cell
    return relabelled(list(best.values()), without=step_axes)


def reference(cell: Cell, cells: Sequence[Cell]) -> Cell | None:
    """The soba cell to compare with: equal in every axis that does not belong to the method."""
    if cell.kind == "soba":
        return cell
    return next((other for other in cells if is_reference(other, cell)), None)


def is_reference(other: Cell, cell: Cell) -> bool:
    """Whether `other` is soba with all settings of `cell` that do not belong to the method."""
    return other.kind == "soba" and all(
        other.settings[key] == value
        for key, value in cell.settings.items()
        if not key.startswith(OF_A_METHOD)
    )


def panels(
    cells: Sequence[Cell], axes: Sequence[str], most_lines: int = MOST_LINES
) -> tuple[Panel, ...]:
    """Split cells by the values of `axes` so that a panel has one line per algorithm.

    All cells stay together if there are at most `most_lines`. A method that lacks a key (soba has
    no ratio), or to which it belongs (as its memory to ef-soba), stands in every panel that its
    other settings fit.
    """
    keys = telling(axes, [cell.settings for cell in cells])
    lines = {(c.method, *(repr(c.settings[key]) for key in keys)) for c in cells}
    if not keys or len(lines) <= most_lines:
        return (Panel("", tuple(cells)),)
    places = _places(cells, keys)
    tuples = list(dict.fromkeys(places))
    tuples.sort(key=lambda values: [sort_key(value) for value in values])
    full = [t for t in tuples if not any(t != other and _fits(t, other) for other in tuples)]
    cases = [dict(zip(keys, place, strict=True)) for place in full]
    titles = phrases([""] * len(full), [(c, keys, c.get(COMPRESSOR) or "") for c in cases])
    return tuple(
        Panel(
            printable(title) or "other",
            tuple(c for c, own in zip(cells, places, strict=True) if _fits(own, place)),
        )
        for title, place in zip(titles, full, strict=True)
    )


def _places(cells: Sequence[Cell], keys: Sequence[str]) -> list[tuple[Any, ...]]:
    """The values by which cells fit into panels; None for what a method cannot do otherwise.

    That is a key of the method's own that is the same in all its cells. Compressors are chosen.
    """
    values: dict[tuple[str, str], set[str]] = {}
    for cell in cells:
        for key in keys:
            values.setdefault((cell.method, key), set()).add(repr(cell.settings[key]))

    def is_own(cell: Cell, key: str) -> bool:
        chosen = not key.startswith(OF_A_METHOD) or key.startswith("compressor.")
        return not chosen and len(values[cell.method, key]) == 1

    return [tuple(None if is_own(c, key) else c.settings[key] for key in keys) for c in cells]


def _fits(values: tuple[Any, ...], place: tuple[Any, ...]) -> bool:
    return all(own is None or own == other for own, other in zip(values, place, strict=True))


def sort_key(value: Any) -> tuple[int, float, str]:  # noqa: ANN401
    """Order of the values of an axis: absent, numbers, texts."""
    if value is None:
        return 0, 0.0, ""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return 1, float(value), ""
    return 2, 0.0, str(value)


def values_of(cells: Sequence[Cell], axis: str) -> list[Any]:
    """Distinct values of an axis in order, absent ones left out."""
    found = {repr(c.settings.get(axis)): c.settings.get(axis) for c in cells}
    return sorted((v for v in found.values() if v is not None), key=sort_key)


def is_number(value: Any) -> bool:  # noqa: ANN401
    """Whether a setting can stand on a numerical axis."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
