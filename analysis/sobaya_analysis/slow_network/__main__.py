"""Command line of `jobs/slow-network.sh`: `python -m sobaya_analysis.slow_network COMMAND`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ..errors import ReportError
from ..output import write_all
from .measure import directs, measure
from .page import markdown, numbers, verdict
from .picture import picture
from .variants import Table, read_table

ROOT = Path(__file__).resolve().parents[3]
STEM = "slow-network"


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
