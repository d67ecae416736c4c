"""Noise floor of the hypergradient norm against the number of workers, with fitted exponent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..curves import is_shown
from ..figures import rendered
from ..theme import Style
from .draw import (
    GREY,
    add_legend,
    entries_of,
    fixed_ticks,
    legend_shape,
    log_ticks,
    panel_grid,
    plain_text,
    styles_of,
)
from .experiment import Cell, Experiment, panels, relabelled
from .labels import words
from .model import COMPLETED, Member
from .numbers import Band, Measure, band
from .part import Choices, Part, Picture, Table

AXIS = "workers"
IDEAL = -0.5
"""Exponent of a linear speed-up: the variance of a mean of n falls as 1 / n."""
RESAMPLES = 2000
MIN_SEEDS = 3
"""With fewer seeds there is no interval."""

Floors = Mapping[int, Mapping[int, float]]
"""Noise floor by number of workers and seed."""


@dataclass(frozen=True, eq=False)
class Line:
    """One method over the numbers of workers; `floor` and `bands` have one entry per number."""

    cell: Cell
    """Its cell with the fewest workers."""
    workers: tuple[int, ...]
    floor: tuple[float, ...]
    """Root mean square over the seeds."""
    bands: tuple[Band, ...]
    """Over the single seeds' floors."""
    exponent: float
    interval: tuple[float, float] | None
    """95 % of the bootstrap over seeds."""
    seeds: int
    """Fewest seeds at any number of workers."""


def noise_floor(member: Member) -> float | None:
    """Root mean square of the hypergradient norm over the last half of the evaluations."""
    if member.run is None or member.state != COMPLETED:
        return None
    norm = member.run.hypergradient_norm
    last = norm[len(norm) // 2 :]
    last = last[is_shown(last)]
    return float(np.sqrt(np.mean(last**2))) if len(last) else None


def fit(workers: Sequence[int], floor: Sequence[float]) -> float:
    """Slope of log floor over log n by least squares; floor ~ n^slope."""
    return float(np.polyfit(np.log(workers), np.log(floor), 1)[0])


def bootstrap(floors: Floors) -> tuple[float, float] | None:
    """95 % interval of the exponent: seeds are drawn with replacement, the same at each n."""
    seeds = sorted(set.intersection(*[set(by_seed) for by_seed in floors.values()]))
    if len(seeds) < MIN_SEEDS:
        return None
    draws = np.random.default_rng(0).integers(len(seeds), size=(RESAMPLES, len(seeds)))
    square = np.array([[by_seed[seed] ** 2 for seed in seeds] for by_seed in floors.values()])
    logs = 0.5 * np.log(square[:, draws].mean(axis=2))
    slopes = np.polyfit(np.log(list(floors)), logs, 1)[0]
    low, high = np.quantile(slopes, [0.025, 0.975])
    return float(low), float(high)


def line(cells: Sequence[Cell]) -> Line | None:
    """The line of cells that differ only in workers; None with fewer than two numbers."""
    floors: dict[int, dict[int, float]] = {}
    for cell in sorted(cells, key=lambda cell: cell.settings[AXIS]):
        found = {member.seed or 0: noise_floor(member) for member in cell.members}
        known = {seed: value for seed, value in found.items() if value}
        if known:
            floors[cell.settings[AXIS]] = known
    if len(floors) < 2:
        return None
    floor = [math.sqrt(np.mean(np.square(list(by_seed.values())))) for by_seed in floors.values()]
    return Line(
        cell=min(cells, key=lambda cell: cell.settings[AXIS]),
        workers=tuple(floors),
        floor=tuple(floor),
        bands=tuple(b for b in map(band, (f.values() for f in floors.values())) if b),
        exponent=fit(list(floors), floor),
        interval=bootstrap(floors),
        seeds=min(len(by_seed) for by_seed in floors.values()),
    )


def lines(experiment: Experiment) -> list[Line]:
    """One line per method; step sizes are no choice here, but part of the method."""
    members: dict[tuple[str, ...], list[Cell]] = {}
    for cell in experiment.cells:
        rest = (cell.method, *(repr(v) for key, v in cell.settings.items() if key != AXIS))
        members.setdefault(rest, []).append(cell)
    found = [one for one in map(line, members.values()) if one is not None]
    cells = relabelled([one.cell for one in found], without=[AXIS])
    return [replace(one, cell=cell) for one, cell in zip(found, cells, strict=True)]


def parts(experiment: Experiment, _measure: Measure | None, _choices: Choices) -> list[Part]:
    """Needs the axis `workers` and hypergradient norms in the last half of the runs."""
    if AXIS not in experiment.axes:
        return []
    found = lines(experiment)
    if not found:
        return []
    image = rendered(lambda: draw(experiment, found))
    head = [("method", "k"), ("exponent", "n"), ("95 % interval", "n"), ("seeds", "n")]
    numbers = sorted({n for one in found for n in one.workers})
    head += [(words("n", n), "n") for n in numbers]
    table = Table(head, [_cells(one, numbers) for one in found])
    about = (
        "Noise floor: root mean square of the hypergradient norm over the last half of the "
        "evaluations and all seeds; bars are the 20 % to 80 % band of single seeds. The exponent "
        "is that of a power law in the number n of workers, by least squares in logarithms, its "
        f"interval the bootstrap over seeds ({RESAMPLES} draws; none below {MIN_SEEDS} seeds). A "
        "linear speed-up has exponent -0.5."
    )
    picture = Picture("speed-up", "noise floor against workers", image)
    return [Part("Speed-up with workers", about, (picture,), table)]


def _cells(one: Line, numbers: Sequence[int]) -> list[str]:
    by_number = dict(zip(one.workers, one.floor, strict=True))
    interval = one.interval
    return [
        one.cell.label,
        f"{one.exponent:.3f}",
        "\N{EN DASH}" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}",
        str(one.seeds),
        *[f"{by_number[n]:.3e}" if n in by_number else "\N{EN DASH}" for n in numbers],
    ]


def draw(experiment: Experiment, found: Sequence[Line]) -> Figure:
    """Logarithmic axes, with the ideal line through the mean of each panel's first points."""
    rest = [axis for axis in experiment.axes if axis != AXIS]
    split = panels([one.cell for one in found], rest)
    by_cell = {one.cell: one for one in found}
    entries = entries_of([panel.cells for panel in split])
    if len(split) == 1:
        entries = {
            f"{one.cell.label}: exponent {one.exponent:.2f}": style
            for one, style in zip(found, entries.values(), strict=True)
        }
    ideal = Line2D(
        [],
        [],
        color=GREY,
        linestyle=(0, (4, 3)),
        linewidth=1.3,
        label="linear speed-up: -0.50",
    )
    size = (7.2, 4.6) if len(split) == 1 else (4.4, 3.4)
    _, n_lines = legend_shape([*entries, "ideal"], max(6.5, size[0] * min(len(split), 3)))
    figure, grid = panel_grid(len(split), n_lines, size)
    numbers = sorted({n for one in found for n in one.workers})
    for axes, panel in zip(grid, split, strict=True):
        plain_text(axes, panel.title)
        inside = [by_cell[cell] for cell in panel.cells]
        for one, style in zip(inside, styles_of(panel.cells), strict=True):
            _draw_line(axes, one, style)
        first = math.exp(np.mean([math.log(one.floor[0]) for one in inside]))
        start = min(one.workers[0] for one in inside)
        axes.plot(
            numbers,
            [first * (n / start) ** IDEAL for n in numbers],
            color=GREY,
            linestyle=(0, (4, 3)),
            linewidth=1.3,
            zorder=1,
        )
        axes.set_xscale("log")
        axes.set_yscale("log")
        log_ticks(axes.yaxis, *axes.get_ylim())
        fixed_ticks(axes.xaxis, numbers)
    figure.supxlabel("workers n", fontsize=12)
    figure.supylabel("noise floor of the hypergradient norm", fontsize=12)
    add_legend(figure, entries, [ideal])
    return figure


def _draw_line(axes: Axes, one: Line, style: Style) -> None:
    axes.vlines(
        one.workers,
        [b.low for b in one.bands],
        [b.high for b in one.bands],
        color=style.colour,
        alpha=0.35,
        lw=3,
    )
    axes.plot(
        one.workers,
        one.floor,
        color=style.colour,
        linestyle=style.dashes,
        marker=style.marker,
        markersize=7,
        markeredgecolor="white",
        linewidth=1.9,
    )
