"""Command line of `jobs/slow-network.sh`: `python -m sobaya_analysis.slow_network COMMAND`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ReportError
from ..output import write_all
from .measure import directs, measure
from .page import markdown, numbers, verdict
from .picture import picture
from .variants import Table, read_table

ROOT = Path(__file__).resolve().parents[3]
STEM = "slow-network"
COMPLETED, NOT_COMPLETED, OTHER_CONFIG = 0, 10, 11
"""Exit codes of `state`, apart from those of errors."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="sobaya_analysis.slow_network", description=__doc__)
    result.add_argument("--table", type=Path, default=ROOT / "jobs" / f"{STEM}.json")
    result.add_argument("--only", default="*", help="pattern of variants' names")
    commands = result.add_subparsers(dest="command", required=True)

    configs = commands.add_parser("configs", help="write NAME.json of each variant; list the names")
    configs.add_argument("folder", type=Path)
    configs.add_argument("--dataset", help="instead of the base config's")
    configs.add_argument("--iterations", type=int, help="instead of the base config's")
    configs.add_argument("--evaluate-every", type=int, required=True)

    state = commands.add_parser(
        "state",
        help="exit code 0: the run is completed, 10: it is not, 11: it is with another config",
    )
    state.add_argument("folder", type=Path)
    state.add_argument("wanted", help="what sobaya check prints; its data set does not matter")
    state.add_argument("dataset", help="the data set that is wanted")

    direct = commands.add_parser("direct", help="list variants quick enough, with iterations")
    direct.add_argument("runs", type=Path)

    page = commands.add_parser("page", help="write the page, its picture and its numbers")
    page.add_argument("runs", type=Path)
    page.add_argument("folder", type=Path)
    page.add_argument("--rate", required=True)
    page.add_argument("--by", required=True, help="the command that made the runs")
    return result


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = parser().parse_args(arguments)
    if options.command == "state":
        return state_of(options.folder, options.wanted, options.dataset)
    table = read_table(options.table, ROOT, options.only)
    try:
        match options.command:
            case "configs":
                write_configs(table, options)
            case "direct":
                for name, iterations in directs(table, options.runs):
                    print(name, iterations)
            case "page":
                write_page(table, options)
    except ReportError as error:
        print(f"{STEM}: error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def state_of(folder: Path, printed: str, dataset: str) -> int:
    """Whether the run in a folder is completed, is not, or is so with another config."""
    wanted: dict[str, Any] = json.JSONDecoder().raw_decode(printed)[0]
    wanted["problem"]["dataset"] = dataset
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return NOT_COMPLETED
    if not isinstance(summary, Mapping) or summary.get("status") != "completed":
        return NOT_COMPLETED
    return COMPLETED if config == wanted else OTHER_CONFIG


def write_configs(table: Table, options: argparse.Namespace) -> None:
    """One config a variant."""
    options.folder.mkdir(parents=True, exist_ok=True)
    for variant in table.variants:
        config = variant.config | {"evaluate": {"every": options.evaluate_every}}
        if options.iterations:
            config["iterations"] = options.iterations
        if options.dataset:
            config["problem"] = config["problem"] | {"dataset": options.dataset}
        (options.folder / f"{variant.name}.json").write_text(json.dumps(config, indent=2) + "\n")
        print(variant.name)


def write_page(table: Table, options: argparse.Namespace) -> None:
    """All files of the page."""
    found = measure(table, options.runs)
    files = {f"{STEM}.{kind}": image for kind, image in picture(found).items()}
    files[f"{STEM}.md"] = markdown(found, options.by, options.rate, STEM).encode()
    files[f"{STEM}.json"] = numbers(found, options.rate).encode()
    write_all(options.folder, files)
    print(verdict(found))


if __name__ == "__main__":
    sys.exit(main())
