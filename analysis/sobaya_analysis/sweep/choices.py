"""Options of a report over sweeps that say what is drawn, and by what runs are judged."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

from ..errors import UsageError
from .experiment import Experiment
from .numbers import MEASURES
from .part import Choices


def add_choices(parser: argparse.ArgumentParser) -> None:
    """Declare the options that `check_values` checks, and from which `choices_of` makes choices."""
    parser.add_argument(
        "--measure",
        choices=[measure.column for measure in MEASURES],
        help="what runs are judged by; default: the first of these that they have",
    )
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="[SWEEP=]VALUE",
        help="target of bytes to a target, an accuracy as a share; default: soba's less one point",
    )
    parser.add_argument(
        "--x",
        action="append",
        default=[],
        metavar="KEY",
        help="draw final values against this axis; default: heterogeneity and compressor.ratio",
    )
    parser.add_argument(
        "--rows", metavar="KEY", help="rows of the heat map, such as compressor.ratio"
    )
    parser.add_argument("--columns", metavar="KEY", help="its columns, such as algorithm.alpha")
    parser.add_argument("--step", metavar="KEY", help="step size of the stability figure")
    parser.add_argument(
        "--margin",
        type=float,
        default=5.0,
        metavar="POINTS",
        help="a method still trains this far below its best accuracy (5)",
    )


def choices_of(options: argparse.Namespace, experiments: Sequence[Experiment]) -> Choices:
    """The choices, once it is known that the sweeps have such axes."""
    known = sorted({axis for one in experiments for axis in one.axes})
    for option in ("x", "rows", "columns", "step"):
        value = getattr(options, option)
        for key in value if isinstance(value, list) else [value]:
            if key is not None and key not in known:
                there = ", ".join(known) or "none"
                raise UsageError(f"--{option} {key}: no axis of these sweeps; there are: {there}")
    check_values(options)
    return Choices(
        measure=options.measure,
        targets=dict(_target(text, experiments) for text in options.target),
        against=tuple(options.x),
        rows=options.rows,
        columns=options.columns,
        step=options.step,
        margin=options.margin,
    )


def check_values(options: argparse.Namespace) -> None:
    """Refuse values that cannot be used with any sweep, which can be said before the runs."""
    if not math.isfinite(options.margin) or options.margin < 0:
        raise UsageError(f"--margin {options.margin}: give points of accuracy, 0 or more")
    for text in options.target:
        _named_target(text)


def _named_target(text: str) -> tuple[str, float]:
    """The name of a sweep, which may be empty, and the value."""
    name, _, value = text.rpartition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"--target {text}: {value!r} is no number; 0.95 is an accuracy of 95 %")
    return name, number


def _target(text: str, experiments: Sequence[Experiment]) -> tuple[str, float]:
    name, number = _named_target(text)
    if name and name not in [one.sweep.name for one in experiments]:
        raise UsageError(f"--target {text}: no sweep is named {name}")
    return name, number
