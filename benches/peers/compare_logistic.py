"""Iterations of SOBA per second on the selection of regularization, Sobaya next to Numba and JAX.

All on one core in one run. Writes a table in Markdown and, next to it, everything measured in JSON.
"""

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from compare import SOBAYA, Result, call, cpu_model, rotated
from one_core import pin, single_thread

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PEERS = {"numba": "Numba", "jax-closed": "JAX closed form", "jax-autodiff": "JAX autodiff"}

Cell = tuple[str, int, int]  # precision, batch, features


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--sobaya", type=Path, default=ROOT / "target/release/sobaya", help="the program to time")
    add("--batches", type=int, nargs="+", default=[64, 512], help="sizes of the mini-batches")
    add("--features", type=int, nargs="+", default=[22], help="entries of a sample")
    add("--rounds", type=int, default=5, help="measurements of everything, to take the median of")
    add("--seconds", type=float, default=2.5, help="time of one measurement")
    add("--core", type=int, help="core to run on, the last one allowed if not given")
    add(
        "--output",
        type=Path,
        default=ROOT / "docs/speed-logistic.md",
        help="table; JSON next to it",
    )
    args = parser.parse_args()
    if args.rounds < 1 or args.seconds <= 0:
        parser.error("rounds and seconds are positive")
    if args.output.suffix == ".json":
        parser.error("--output names the table; the JSON file is named after it")
    return args


def call_one(impl: str, cell: Cell, args: argparse.Namespace, environment: dict) -> Result:
    """One measurement."""
    precision, batch, features = map(str, cell)
    seconds = ["--seconds", str(args.seconds)]
    if impl != SOBAYA:
        command = [sys.executable, str(HERE / "logistic_step.py"), impl, batch, features, precision]
        return call(command + seconds, environment)
    command = [str(args.sobaya), "bench", "step", "--problem", "regularization-selection", "--json"]
    command += ["--batch", batch, "--features", features, "--precision", precision, *seconds]
    printed = call([*command, "--sampler", "slice"], environment)
    (row,) = printed["rows"]
    return {**row, "impl": SOBAYA, "machine": printed["machine"]}


def measure(args: argparse.Namespace, cells: list[Cell]) -> list[Result]:
    """All measurements, in the order in which they were made."""
    environment = dict(os.environ)
    single_thread(environment)
    everyone = [*PEERS, SOBAYA]
    results: list[Result] = []
    for turn in range(args.rounds):
        for place, cell in enumerate(cells):
            for impl in rotated(everyone, turn + place):
                result = call_one(impl, cell, args, environment)
                results.append({"round": turn + 1, "load": os.getloadavg()[0], **result})
                rate = result["iterations_per_second"]
                print(f"round {turn + 1}, {cell}: {impl} {rate:.0f}/s", file=sys.stderr, flush=True)
    return results


def summarize(results: list[Result], cells: list[Cell]) -> list[Result]:
    """The medians over the rounds of each cell."""
    rows = []
    for precision, batch, features in cells:
        here = {"precision": precision, "batch": batch, "features": features}
        rates = {
            impl: [
                result["iterations_per_second"]
                for result in results
                if result["impl"] == impl and {name: result[name] for name in here} == here
            ]
            for impl in (*PEERS, SOBAYA)
        }
        medians = {impl: median(values) for impl, values in rates.items()}
        best = max(PEERS, key=medians.__getitem__)
        ratio = medians[SOBAYA] / medians[best]
        spread = {impl: [min(values), max(values)] for impl, values in rates.items()}
        rows.append({**here, "median": medians, "range": spread, "best_peer": best, "ratio": ratio})
    return rows


def table(rows: list[Result], facts: Result) -> str:
    """The table in Markdown."""
    setting = (
        "Iterations of SOBA per second on the selection of regularization: logistic regression "
        "with an l2 weight for each feature, 49,990 and 91,701 dense samples, mini-batches as "
        "contiguous slices. One core, one thread, all programs in turn in one run; medians of "
        f"{facts['rounds']} rounds of {facts['seconds']:g} s each, by processor time."
    )
    machine = (
        f"{facts['date']}; {facts['cpu']}; {', '.join(facts['versions'])}; load average of the "
        f"machine {facts['load'][0]:.1f} to {facts['load'][1]:.1f} (1 is an idle machine)."
    )
    lines = ["# Speed of one iteration of logistic regression", "", setting, "", machine, ""]
    lines += [
        f"| precision | batch | features | {' | '.join(PEERS.values())} | Sobaya | / best peer |",
        "| --- |" + " ---: |" * (len(PEERS) + 4),
    ]
    for row in rows:
        rates = [
            f"**{rate:.0f}**" if impl == row["best_peer"] else f"{rate:.0f}"
            for impl, rate in row["median"].items()
        ]
        size = f"{row['precision']} | {row['batch']} | {row['features']}"
        lines.append(f"| {size} | {' | '.join(rates)} | {row['ratio']:.2f} |")
    lines += [
        "",
        "Bold: the best peer. Numba compiles with `fastmath`, which fuses multiplications with "
        "additions and reorders sums; Sobaya does neither, so that every processor gets the same "
        "bits, and computes the two losses as well. How it is measured: `benches/peers/README.md`.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and write both files."""
    args = arguments()
    if not os.access(args.sobaya, os.X_OK):
        sys.exit(
            f"{Path(__file__).name}: {args.sobaya} is missing; run cargo build --release first"
        )
    args.sobaya = args.sobaya.resolve()
    pin(args.core)  # the programs started from here inherit it
    cells = [(p, b, d) for p in ("f32", "f64") for b in args.batches for d in args.features]
    results = measure(args, cells)
    versions: dict[str, str] = {}
    for result in results:
        versions |= result.get("versions", {})
    loads = [result["load"] for result in results]
    facts = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpu": cpu_model(),
        "versions": [f"{package} {number}" for package, number in versions.items()],
        "load": [min(loads), max(loads)],
        "rounds": args.rounds,
        "seconds": args.seconds,
    }
    rows = summarize(results, cells)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(table(rows, facts))
    record = {**facts, "cells": rows, "measurements": results}
    args.output.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    print(table(rows, facts))


if __name__ == "__main__":
    main()
