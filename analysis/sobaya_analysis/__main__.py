"""Command line: `sobaya-report LOG.h5|RUN_DIR... -o OUT`, `sobaya-report sweep DIR... -o OUT`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from . import __version__
from .errors import LogError, ReportError, UsageError
from .figures import overview
from .group import Section, repeats, sections
from .output import check_report_folder, write_report
from .report import html_report
from .runs import Run, find_logs, load_run
from .summary import csv_text
from .sweep.command import add_arguments
from .sweep.command import run as run_sweep

PROGRAM = "sobaya-report"
SWEEP = "sweep"
"""First word of a command line about sweeps; a folder of that name is given as ./sweep."""


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line like every other error: in one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = _Parser(
        prog=PROGRAM,
        description="Figures (PNG, SVG), report.html and summary.csv from the logs of sobaya runs.",
        epilog=f"reports over sweeps: {PROGRAM} {SWEEP} --help; "
        "exit codes: 0 done, 2 usage, 3 unusable log, 5 report cannot be written",
    )
    result.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="LOG.h5|RUN_DIR",
        help="a log, the folder of a run, or a folder with such folders",
    )
    result.add_argument(
        "-o", "--out", required=True, type=Path, metavar="OUTDIR", help="folder for the report"
    )
    result.add_argument(
        "--skip-bad", action="store_true", help="leave out logs that cannot be used, with a notice"
    )
    result.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    return result


def sweep_parser() -> argparse.ArgumentParser:
    """The command line behind the word `sweep`."""
    result = _Parser(
        prog=f"{PROGRAM} {SWEEP}",
        description="Figures (PNG, SVG), report.html, summary.csv and groups.csv from sweeps.",
    )
    add_arguments(result)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments[:1] == [SWEEP]:
            print(run_sweep(sweep_parser().parse_args(arguments[1:])))
            return 0
        options = parser().parse_args(arguments)
        check_report_folder(options.out)
        parts = sections(_samples(_load(options.runs, options.skip_bad)))
        files = build(parts)
        write_report(options.out, files)
    except ReportError as error:
        _say(f"error: {error}")
        return error.exit_code
    n_runs = sum(len(section.runs) for section in parts)
    n_groups = sum(len(section.groups) for section in parts)
    print(f"{options.out / 'report.html'}: {n_runs} runs in {n_groups} groups")
    return 0


def build(parts: Sequence[Section]) -> dict[str, bytes]:
    """All files of the report, name to content; figures are named after their section."""
    files: dict[str, bytes] = {}
    images = {}
    for section in parts:
        image = overview(section)
        if image is None:
            continue
        images[section.slug] = image
        stem = "overview" if len(parts) == 1 else f"overview-{section.slug}"
        files |= {f"{stem}.{kind}": content for kind, content in image.items()}
    files["report.html"] = html_report(parts, images).encode("utf-8", "replace")
    files["summary.csv"] = csv_text(parts).encode("utf-8", "replace")
    return files


def _load(arguments: Sequence[Path], skip_bad: bool) -> list[Run]:
    runs = []
    problem: LogError | None = None
    for path in find_logs(arguments):
        try:
            runs.append(load_run(path))
        except LogError as error:
            if not skip_bad:
                raise
            _say(f"skipped: {error}")
            problem = error
    if problem is not None and not runs:
        raise problem
    return runs


def _samples(runs: Sequence[Run]) -> list[Run]:
    """The runs without those that repeat another, which are named."""
    left_out = set()
    for run, other in repeats(runs):
        _say(f"left out: {run.path}: same config and seed as {other.path}, so no second sample")
        left_out.add(run)
    return [run for run in runs if run not in left_out]


def _say(message: str) -> None:
    """One line on stderr, whatever the message holds."""
    print(f"{PROGRAM}: {' '.join(message.split())}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
