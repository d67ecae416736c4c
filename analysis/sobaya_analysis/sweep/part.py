"""What a report over a sweep is made of: parts with figures and a table, and the user's choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .numbers import MEASURES, Measure

Images = Mapping[str, bytes]
"""A figure as {"png": .., "svg": ..}."""


@dataclass(frozen=True)
class Picture:
    """A figure of a part."""

    name: str
    """Stem of its files, unique within the experiment."""
    title: str
    """What it shows, for those who cannot see it."""
    images: Images


@dataclass(frozen=True)
class Table:
    """Columns (heading, class k for labels, n for numbers, or empty) and rows of texts."""

    head: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Part:
    """One question and its answer; what the data cannot answer is no part."""

    title: str
    text: str
    """How the numbers are made."""
    pictures: tuple[Picture, ...] = ()
    table: Table | None = None


@dataclass(frozen=True)
class Choices:
    """What the command line says; None and empty leave it to the data."""

    measure: str | None = None
    """Column by which runs are judged."""
    targets: Mapping[str, float] = field(default_factory=dict)
    """Target by name of the sweep; "" stands for all others. Accuracies are shares."""
    against: tuple[str, ...] = ()
    """Axes against which final numbers are drawn."""
    rows: str | None = None
    columns: str | None = None
    """Axes of the heat map."""
    step: str | None = None
    """The step size of the stability figure."""
    margin: float = 5.0
    """Points of accuracy below its best within which a method still trains."""

    def measure_of(self, visible: Sequence[Measure]) -> Measure | None:
        """The measure by which an experiment's runs are judged: the first that they have."""
        chosen = [m for m in MEASURES if m.column == self.measure] if self.measure else visible
        return next((measure for measure in chosen if measure in visible), None)
