"""The picture: time to target by variant, and accuracy against wall time."""

from __future__ import annotations

import io

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ..theme import COLOURS, MATPLOTLIB, style_of
from .measure import Measurement, Row
from .variants import COMPRESSED, DENSE

_COLOUR = {None: COLOURS[6], DENSE: COLOURS[5], COMPRESSED: COLOURS[0]}
"""By downlink."""
_HATCH = {None: None, "dense": None, "8-bit": "////"}
"""By y and z."""
_LOW = 0.8
"""Accuracies below are cut off: the ends of the curves are what differs."""


def picture(found: Measurement) -> dict[str, bytes]:
    """The figure as {"png": .., "svg": ..}."""
    with mpl.rc_context(MATPLOTLIB):
        figure = Figure(figsize=(14, 1.6 + 0.3 * len(found.rows)), layout="constrained")
        figure.set_facecolor("white")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1))
        _draw_bars(left, found)
        _draw_curves(right, found)
        images = {}
        for kind in ("png", "svg"):
            out = io.BytesIO()
            metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
            figure.savefig(out, format=kind, dpi=130, metadata=metadata)
            images[kind] = out.getvalue()
    return images


def _draw_bars(axes: Axes, found: Measurement) -> None:
    """One bar a variant; those of one method stand together."""
    place, places, middles = 0.0, [], {}
    for before, row in zip((None, *found.rows), found.rows, strict=False):
        place += 1.0 if before and before.variant.label == row.variant.label else 1.6
        places.append(place)
        middles.setdefault(row.variant.label, []).append(place)
    known = [row.seconds for row in found.rows if row.seconds is not None]
    start = 0.6 * min(known, default=1.0)
    for at, row in zip(places, found.rows, strict=True):
        text = _missing(row) if row.seconds is None else f"{row.seconds:.3g} s"
        if row.seconds is not None:
            axes.barh(
                at,
                row.seconds - start,
                left=start,
                height=0.82,
                color=_COLOUR[row.variant.downlink],
                hatch=_HATCH.get(row.variant.y_z),
                edgecolor="white",
                linewidth=0.6,
            )
        axes.annotate(
            text,
            (row.seconds or start, at),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    _set_log(axes)
    axes.set_xlim(start, 2.2 * max(known, default=1.0))
    axes.set_yticks([float(np.mean(group)) for group in middles.values()], list(middles))
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"wall time to {100 * found.target:.2f} % test accuracy [s]")
    axes.legend(handles=_bar_legend(found), loc="lower right", fontsize=9, frameon=True)


def _bar_legend(found: Measurement) -> list[Patch]:
    downlinks = {row.variant.downlink for row in found.rows}
    handles = [
        Patch(facecolor=colour, label="no compression" if name is None else f"{name} downlink")
        for name, colour in _COLOUR.items()
        if name in downlinks
    ]
    if any(row.variant.y_z == "8-bit" for row in found.rows):
        label = "y and z by 8-bit dithering"
        handles.append(Patch(facecolor="#999999", hatch="////", edgecolor="white", label=label))
    return handles


def _missing(row: Row) -> str:
    diverged = row.local is not None and row.local.status != "completed"
    return "diverged" if diverged else "not reached"


def fastest_by_method(found: Measurement) -> list[Row]:
    """Of each method the variant whose iterations take the least time, and that has a curve."""
    best: dict[str, Row] = {}
    for row in found.rows:
        if row.local is None:
            continue
        other = best.get(row.variant.label)
        if other is None or row.milliseconds < other.milliseconds:
            best[row.variant.label] = row
    return list(best.values())


def _draw_curves(axes: Axes, found: Measurement) -> None:
    low = min(_LOW, found.target - 0.05)
    first = []
    for index, row in enumerate(fastest_by_method(found)):
        if row.local is None:
            continue
        seconds = row.local.eval_iteration * row.milliseconds / 1e3
        accuracy = row.local.test_accuracy
        first.append(seconds[(accuracy >= low) & (seconds > 0)].min(initial=np.inf))
        later = seconds > 0
        style = style_of(index)
        axes.plot(
            seconds[later],
            100 * accuracy[later],
            color=style.colour,
            linestyle=style.dashes,
            linewidth=1.7,
            label=_curve_label(row),
        )
    axes.axhline(100 * found.target, color="#888888", linewidth=0.9, linestyle=(0, (2, 2)))
    axes.annotate(
        "target",
        (1.0, 100 * found.target),
        xycoords=("axes fraction", "data"),
        xytext=(-2, 3),
        textcoords="offset points",
        ha="right",
        fontsize=9,
    )
    _set_log(axes)
    start = min(first, default=np.inf)
    if np.isfinite(start):
        axes.set_xlim(left=0.8 * start)
    axes.set_ylim(100 * low, 100 * _highest(found) + 0.5)
    axes.set_xlabel("wall time [s]")
    axes.set_ylabel("test accuracy [%]")
    # Above the curves, which end in the upper right.
    title = "the fastest variant of each method; downlink compressed unless dense is said"
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 2}
    axes.legend(**place, title=title, fontsize=9, title_fontsize=9)


def _highest(found: Measurement) -> float:
    curves = [row.local.test_accuracy for row in found.rows if row.local is not None]
    return float(np.nanmax(np.concatenate(curves)))


def _set_log(axes: Axes) -> None:
    """A logarithmic axis of time with plain numbers."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _curve_label(row: Row) -> str:
    variant = row.variant
    if variant.downlink is None:
        return variant.label
    down = "" if variant.downlink == COMPRESSED else ", dense downlink"
    y_z = "" if variant.y_z == DENSE else f", y z {variant.y_z}"
    return f"{variant.label}{down}{y_z}"
