"""Command line of studies, which jobs/results.sh calls: plan, state, report."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..errors import ReportError, UsageError
from .model import Study, plan_line, planned_runs, read_base, read_study

PROGRAM = "sobaya_analysis.study"
COMPLETED, NOT_COMPLETED, OTHER_CONFIG = 0, 10, 11
"""Exit codes of `state`, apart from those of errors."""


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line like every other error: in one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see python -m {PROGRAM} --help")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = _Parser(prog=PROGRAM, description="Plans and reports the runs of a study.")
    commands = result.add_subparsers(required=True, dest="command")
    selection = _Parser(add_help=False)
    selection.add_argument("study", type=Path, metavar="STUDY.json")
    selection.add_argument("--seeds", type=int, nargs="*", default=[])
    selection.add_argument("--methods", nargs="*", default=[])

    plan = commands.add_parser(
        "plan",
        parents=[selection],
        help="a line per run: name, base config, workers, data set, KEY=JSON..., with tabs between",
    )
    plan.add_argument("--root", type=Path, default=Path(), help="where the base config is found")
    plan.add_argument("--iterations", type=int)
    plan.add_argument("--dataset")

    state = commands.add_parser(
        "state",
        help="exit code 0: the run is completed, 10: it is not, 11: it is with another config",
    )
    state.add_argument("folder", type=Path)
    state.add_argument("wanted", help="what sobaya check prints; its data set does not matter")
    state.add_argument("dataset", help="the data set that is wanted, or -")

    report = commands.add_parser("report", parents=[selection], help="page, figures and tables")
    report.add_argument("runs", type=Path, help="folder with the runs METHOD-sSEED")
    report.add_argument(
        "-o", "--out", type=Path, required=True, help="folder in which NAME.md and NAME/ are made"
    )
    report.add_argument("--made-by", required=True, help="the command that the page names")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    try:
        options = parser().parse_args(arguments)
        if options.command == "state":
            return state_of(options.folder, options.wanted, options.dataset)
        study = read_study(options.study).selected(options.seeds, options.methods)
        if options.command == "plan":
            _plan(study, options)
        else:
            _report(study, options)
    except ReportError as error:
        print(f"{PROGRAM}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    return 0


def state_of(folder: Path, printed: str, dataset: str) -> int:
    """Whether the run in a folder is completed, is not, or is so with another config."""
    wanted: dict[str, Any] = json.JSONDecoder().raw_decode(printed)[0]
    if dataset != "-":
        wanted["problem"]["dataset"] = dataset
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return NOT_COMPLETED
    if not isinstance(summary, Mapping) or summary.get("status") != "completed":
        return NOT_COMPLETED
    return COMPLETED if config == wanted else OTHER_CONFIG


def _plan(study: Study, options: argparse.Namespace) -> None:
    overrides = {"iterations": options.iterations, "problem.dataset": options.dataset}
    given = {key: value for key, value in overrides.items() if value is not None}
    base = read_base(options.root, study)
    for run in planned_runs(study, given):
        print(plan_line(study, base, run))


def _report(study: Study, options: argparse.Namespace) -> None:
    # Here, so that the other commands, of which there is one for each run, start at once.
    from .publish import publish

    print(publish(study, options.runs, options.out, options.made_by))


if __name__ == "__main__":
    sys.exit(main())
