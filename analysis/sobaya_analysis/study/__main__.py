"""Command line of studies, which jobs/study.sh calls: plan, tune, report, index."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ..errors import ReportError, UsageError
from ..output import write_all
from ..sweep.model import read_sweep
from .index import index
from .model import Study, read_study
from .sweeps import Trial, data_files, final_sweep, json_text, tuning_sweep
from .tuning import choose

PROGRAM = "sobaya_analysis.study"


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line like every other error: in one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see python -m {PROGRAM} --help")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = _Parser(prog=PROGRAM, description="From a study to its sweeps, and to its page.")
    commands = result.add_subparsers(required=True, dest="command")
    one = _Parser(add_help=False)
    one.add_argument("study", type=Path, metavar="STUDY.json")
    one.add_argument("--seeds", type=int, nargs="*", default=[])
    one.add_argument("--methods", nargs="*", default=[], help="names of entries of the list")
    one.add_argument("--iterations", type=int)
    one.add_argument("--dataset", help="in place of mnist and fashion-mnist")
    one.add_argument("--ends-only", action="store_true", help="of axes the first and last value")

    plan = commands.add_parser(
        "plan",
        parents=[one],
        help="write tune.json, if there is something to tune, and final.json, which until `tune` "
        "has the first choice on each tuned axis; print whether there is tuning (yes, no), and the "
        "paths of data in the data folder, a line each",
    )
    plan.add_argument("-o", "--out", type=Path, required=True, help="folder of the sweep files")

    tune = commands.add_parser(
        "tune", parents=[one], help="write final.json with what is best in the tuning sweep"
    )
    tune.add_argument("tuned", type=Path, metavar="TUNED_DIR", help="folder of the tuning sweep")
    tune.add_argument("-o", "--out", type=Path, required=True, help="folder of final.json")

    report = commands.add_parser("report", parents=[one], help="page, figures and tables")
    report.add_argument("final", type=Path, metavar="FINAL_DIR", help="folder of the final sweep")
    report.add_argument("--tuned", type=Path, help="folder of the tuning sweep")
    report.add_argument(
        "-o", "--out", type=Path, required=True, help="folder in which NAME.md and NAME/ are made"
    )
    report.add_argument("--made-by", required=True, help="the command that the page names")
    report.add_argument(
        "--skip-bad",
        action="store_true",
        help="do without runs that are missing, have not ended or failed, which else are refused",
    )

    listing = commands.add_parser("index", help="write OUT.md, the index of the pages in OUT")
    listing.add_argument("title")
    listing.add_argument("studies", type=Path, nargs="+", metavar="STUDY.json")
    listing.add_argument("-o", "--out", type=Path, required=True)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    try:
        options = parser().parse_args(arguments)
        if options.command == "index":
            _index(options)
            return 0
        study = _trial(options).of(read_study(options.study))
        {"plan": _plan, "tune": _tune, "report": _report}[options.command](study, options)
    except ReportError as error:
        print(f"{PROGRAM}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    return 0


def _trial(options: argparse.Namespace) -> Trial:
    return Trial(
        tuple(options.seeds),
        tuple(options.methods),
        options.iterations,
        options.dataset,
        options.ends_only,
    )


def _plan(study: Study, options: argparse.Namespace) -> None:
    sweeps = {"tune.json": tuning_sweep(study), "final.json": final_sweep(study)}
    known = {name: sweep for name, sweep in sweeps.items() if sweep is not None}
    write_all(options.out, {name: json_text(sweep).encode() for name, sweep in known.items()})
    print("yes" if "tune.json" in known else "no")
    for name in sorted(set().union(*map(data_files, known.values()))):
        print(name)


def _tune(study: Study, options: argparse.Namespace) -> None:
    choices = choose(study, read_sweep(options.tuned))
    sweep = final_sweep(study, [choice.settings for choice in choices])
    write_all(options.out, {"final.json": json_text(sweep).encode()})
    for choice in choices:
        tuned = ", ".join(
            f"{key} {value}{' (border)' if key in choice.at_border else ''}"
            for key, value in choice.tuned.items()
        )
        print(f"{choice.label}: {tuned or 'nothing to tune'}")


def _report(study: Study, options: argparse.Namespace) -> None:
    # Here, so that the other commands need not wait for matplotlib.
    from .publish import publish

    source = os.path.relpath(options.study, options.out)
    folders = options.final, options.tuned, options.out
    print(publish(study, *folders, options.made_by, source, options.skip_bad))


def _index(options: argparse.Namespace) -> None:
    text = index(options.title, [read_study(path) for path in options.studies], options.out)
    write_all(options.out.parent, {f"{options.out.name}.md": text.encode()})
    print(options.out.parent / f"{options.out.name}.md")


if __name__ == "__main__":
    sys.exit(main())
