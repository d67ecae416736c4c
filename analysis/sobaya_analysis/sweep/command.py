"""Command line of reports over sweeps: `sobaya-report sweep DIR... -o OUT`."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from pathlib import Path

from ..configs import printable
from ..errors import UsageError
from ..output import check_report_folder, write_report
from .experiment import Experiment, experiment
from .model import read_sweep
from .numbers import MEASURES
from .page import Chapter, chapter, html
from .part import Choices
from .tables import groups_csv, runs_csv


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare arguments and options."""
    parser.add_argument(
        "sweeps",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="folder of a sweep, with sweep.json; several become sections of one page",
    )
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="OUTDIR")
    parser.add_argument(
        "--skip-bad", action="store_true", help="count runs whose log cannot be used as failed"
    )
    add_choices(parser)


def add_choices(parser: argparse.ArgumentParser) -> None:
    """Declare the options from which `choices_of` makes choices."""
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


def run(options: argparse.Namespace) -> str:
    """Write the report; returns the line that says what was made."""
    check_report_folder(options.out)
    experiments = [experiment(read_sweep(path, options.skip_bad)) for path in options.sweeps]
    choices = choices_of(options, experiments)
    chapters = [
        chapter(slug, one, choices)
        for slug, one in zip(slugs(experiments), experiments, strict=True)
    ]
    write_report(options.out, files_of(chapters))
    n_runs = sum(len(one.sweep.members) for one in experiments)
    n_groups = sum(len(one.cells) for one in experiments)
    return f"{options.out / 'report.html'}: {n_runs} runs in {n_groups} groups"


def files_of(chapters: Sequence[Chapter]) -> dict[str, bytes]:
    """All files of a report, name to content."""
    experiments = [one.experiment for one in chapters]
    files = {name: content for one in chapters for name, content in one.files().items()}
    files["report.html"] = html(chapters).encode("utf-8", "replace")
    files["summary.csv"] = runs_csv(experiments).encode("utf-8", "replace")
    files["groups.csv"] = groups_csv(experiments).encode("utf-8", "replace")
    return files


def choices_of(options: argparse.Namespace, experiments: Sequence[Experiment]) -> Choices:
    """The choices, once it is known that the sweeps have such axes."""
    known = sorted({axis for one in experiments for axis in one.axes})
    for option in ("x", "rows", "columns", "step"):
        value = getattr(options, option)
        for key in value if isinstance(value, list) else [value]:
            if key is not None and key not in known:
                there = ", ".join(known) or "none"
                raise UsageError(f"--{option} {key}: no axis of these sweeps; there are: {there}")
    if not math.isfinite(options.margin) or options.margin < 0:
        raise UsageError(f"--margin {options.margin}: give points of accuracy, 0 or more")
    return Choices(
        measure=options.measure,
        targets=dict(_target(text, experiments) for text in options.target),
        against=tuple(options.x),
        rows=options.rows,
        columns=options.columns,
        step=options.step,
        margin=options.margin,
    )


def _target(text: str, experiments: Sequence[Experiment]) -> tuple[str, float]:
    name, _, value = text.rpartition("=")
    if name and name not in [one.sweep.name for one in experiments]:
        raise UsageError(f"--target {text}: no sweep is named {name}")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"--target {text}: {value!r} is no number; 0.95 is an accuracy of 95 %")
    return name, number


def slugs(experiments: Sequence[Experiment]) -> list[str]:
    """What the names of figures begin with; nothing if there is one sweep only."""
    if len(experiments) == 1:
        return [""]
    found: list[str] = []
    for one in experiments:
        base = re.sub(r"[^a-z0-9]+", "-", printable(one.sweep.name).lower())[:60].strip("-")
        slug = f"{base or 'sweep'}-"
        while slug in found:
            slug = f"{base or 'sweep'}-{len(found) + 1}-"
        found.append(slug)
    return found
