"""Iterations of SOBA per second, Sobaya next to NumPy and JAX, all on one core in one run.

Writes a table in Markdown and, next to it, everything measured in JSON.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from one_core import pin, single_thread

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PEERS = {"numpy": "NumPy", "jax-closed": "JAX closed form", "jax-autodiff": "JAX autodiff"}
SOBAYA = "sobaya"
INPUTS, CLASSES = 785, 10  # inputs with the bias

Cell = tuple[int, int]
Result = dict[str, Any]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--sobaya", type=Path, default=ROOT / "target/release/sobaya", help="the program to time")
    add("--batches", type=int, nargs="+", default=[64, 512], help="sizes of the mini-batches")
    add("--hidden", type=int, nargs="+", default=[32, 128, 512], help="widths of the hidden layer")
    add("--precision", choices=("f32", "f64"), default="f32", help="of all numbers")
    add("--activation", choices=("relu", "tanh"), default="relu", help="of the hidden layer")
    add("--rounds", type=int, default=3, help="measurements of everything, to take the median of")
    add("--seconds", type=float, default=2.5, help="time of one measurement")
    add("--core", type=int, help="core to run on, the last one allowed if not given")
    add(
        "--output",
        type=Path,
        default=ROOT / "docs/speed.md",
        help="table; the JSON goes next to it",
    )
    args = parser.parse_args()
    if args.rounds < 1 or args.seconds <= 0:
        parser.error("rounds and seconds are positive")
    if args.output.suffix == ".json":
        parser.error("--output names the table; the JSON file is named after it")
    return args


def call(command: list[str], environment: dict[str, str]) -> Result:
    """Run a program that prints one JSON value."""
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"compare.py: {' '.join(command)} failed with status {done.returncode}")
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError as error:
        sys.exit(f"compare.py: {' '.join(command)} did not print JSON: {error}")


def call_peer(impl: str, cell: Cell, args: argparse.Namespace, environment: dict) -> Result:
    """Time NumPy or JAX."""
    command = [sys.executable, str(HERE / "soba_step.py"), impl, *map(str, cell)]
    command += [args.precision, args.activation, "--seconds", str(args.seconds)]
    return call(command, environment)


def call_sobaya(cell: Cell, args: argparse.Namespace, environment: dict) -> Result:
    """Time Sobaya."""
    command = f"bench step --problem hyper-representation --batch {cell[0]} --hidden {cell[1]}"
    command += f" --precision {args.precision} --activation {args.activation} --sampler slice"
    command += f" --seconds {args.seconds} --json"
    printed = call([str(args.sobaya), *command.split()], environment)
    wanted = {"batch": cell[0], "hidden": cell[1], "precision": args.precision}
    rows = [
        row
        for row in printed["rows"]
        if {name: row[name] for name in wanted} == wanted
        and row["problem"] == "hyper-representation"
    ]
    if len(rows) != 1:
        sys.exit(f"compare.py: {args.sobaya} printed {len(rows)} rows for {wanted}")
    return {
        **rows[0],
        "impl": SOBAYA,
        "kernels": text(printed["kernels"]),
        "machine": printed["machine"],
    }


def text(value: str | list | dict) -> str:
    """A value of any shape on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {text(part)}" for name, part in value.items())
    return ", ".join(map(text, value)) if isinstance(value, list) else str(value)


def rotated(items: list[str], by: int) -> Iterator[str]:
    """The items in turn, beginning elsewhere in every round, so that none is always first."""
    by %= len(items)
    yield from items[by:] + items[:by]


def measure(args: argparse.Namespace, cells: list[Cell]) -> list[Result]:
    """All measurements, in the order in which they were made."""
    environment = dict(os.environ)
    single_thread(environment)
    everyone = [*PEERS, SOBAYA]
    results: list[Result] = []
    total = args.rounds * len(cells) * len(everyone)
    for turn in range(args.rounds):
        for place, cell in enumerate(cells):
            for impl in rotated(everyone, turn + place):
                if impl == SOBAYA:
                    result = call_sobaya(cell, args, environment)
                else:
                    result = call_peer(impl, cell, args, environment)
                results.append({"round": turn + 1, "load": os.getloadavg()[0], **result})
                print(
                    f"[{len(results)}/{total}] round {turn + 1}, batch {cell[0]}, h {cell[1]}: "
                    f"{impl} {result['iterations_per_second']:.1f}/s",
                    file=sys.stderr,
                    flush=True,
                )
    return results


def operations(cell: Cell) -> float:
    """Floating-point operations of the matrix products of one iteration.

    Both batches go through the hidden layer forth and back; in the last layer, the scores of y and
    z, their directions, and the way back to the hidden layer are one thin product each.
    """
    batch, hidden = cell
    rows = 2 * batch
    return 2.0 * rows * hidden * (2 * INPUTS + 3 * 2 * CLASSES)


def summarize(results: list[Result], cells: list[Cell]) -> list[Result]:
    """The medians over the rounds of each cell."""
    rows = []
    for cell in cells:
        rates = {
            impl: [
                result["iterations_per_second"]
                for result in results
                if result["impl"] == impl and (result["batch"], result["hidden"]) == cell
            ]
            for impl in (*PEERS, SOBAYA)
        }
        medians = {impl: median(values) for impl, values in rates.items()}
        best = max(PEERS, key=medians.__getitem__)
        rows.append(
            {
                "batch": cell[0],
                "hidden": cell[1],
                "median": medians,
                "lowest": {impl: min(values) for impl, values in rates.items()},
                "highest": {impl: max(values) for impl, values in rates.items()},
                "gflops": {impl: operations(cell) / 1e9 * rate for impl, rate in medians.items()},
                "best_peer": best,
                "ratio": medians[SOBAYA] / medians[best],
            }
        )
    return rows


def cpu_model() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown processor"


def table(rows: list[Result], facts: Result) -> str:
    """The table in Markdown."""
    fastest = {
        name: max(max(row["gflops"][impl] for impl in impls) for row in rows)
        for name, impls in (("peers", PEERS), (SOBAYA, (SOBAYA,)))
    }
    kernels = facts["kernels"]
    setting = (
        f"Iterations of SOBA per second on hyper-representation, a 784-h-10 perceptron with "
        f"{facts['activation']} in {facts['precision']}. One core, one BLAS thread, all programs "
        f"in turn in one run; medians of {facts['rounds']} rounds of {facts['seconds']:g} s each."
    )
    machine = (
        f"{facts['date']}; {facts['cpu']}; {', '.join(facts['versions'])}; matrix products: NumPy "
        f"{kernels['numpy']}, JAX {kernels['jax-closed']}, Sobaya {kernels[SOBAYA]}; at most "
        f"{fastest['peers']:.0f} GFLOP/s by the peers and {fastest[SOBAYA]:.0f} GFLOP/s by Sobaya."
    )
    lines = ["# Speed of one iteration", "", setting, "", machine, ""]
    lines += [
        f"| batch | h | {' | '.join(PEERS.values())} | Sobaya | Sobaya / best peer |",
        "|" + " ---: |" * (len(PEERS) + 4),
    ]
    for row in rows:
        rates = [
            f"**{row['median'][impl]:.0f}**" if impl == row["best_peer"] else f"{rate:.0f}"
            for impl, rate in row["median"].items()
        ]
        lines.append(
            f"| {row['batch']} | {row['hidden']} | {' | '.join(rates)} | {row['ratio']:.2f} |"
        )
    lines += ["", "Bold: the best peer. How it is measured: `benches/peers/README.md`.", ""]
    return "\n".join(lines)


def gather(args: argparse.Namespace, results: list[Result], date: str) -> Result:
    """What the head of the table says."""
    versions: dict[str, str] = {}
    for result in results:
        versions |= result.get("versions", {})
    names = {"python": "Python", "numpy": "NumPy", "jax": "JAX", "jaxlib": "jaxlib"}
    done = subprocess.run(
        [str(args.sobaya), "--version"], stdout=subprocess.PIPE, text=True, check=False
    )
    sobaya = done.stdout.split()[1:2]  # "sobaya 0.1.0 (...)"
    return {
        "date": date,
        "cpu": cpu_model(),
        "versions": [f"{names[key]} {value}" for key, value in versions.items()]
        + [" ".join(["Sobaya", *sobaya])],
        "kernels": {result["impl"]: result["kernels"] for result in results},
        "precision": args.precision,
        "activation": args.activation,
        "rounds": args.rounds,
        "seconds": args.seconds,
    }


def main() -> None:
    """Measure and write both files."""
    args = arguments()
    if not os.access(args.sobaya, os.X_OK):
        sys.exit(f"compare.py: {args.sobaya} is missing; run cargo build --release first")
    args.sobaya = args.sobaya.resolve()
    pin(args.core)  # the programs started from here inherit it
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    cells = [(batch, hidden) for batch in args.batches for hidden in args.hidden]
    results = measure(args, cells)
    rows = summarize(results, cells)
    facts = gather(args, results, date)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(table(rows, facts))
    record = {**facts, "cells": rows, "measurements": results}
    args.output.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    print(table(rows, facts))


if __name__ == "__main__":
    main()
