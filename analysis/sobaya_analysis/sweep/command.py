"""Command line of reports over sweeps: `sobaya-report sweep DIR... -o OUT`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from ..configs import printable
from ..output import check_report_folder, write_report
from .choices import add_choices, choices_of
from .experiment import Experiment, experiment
from .model import read_sweep
from .page import Chapter, chapter, html
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
