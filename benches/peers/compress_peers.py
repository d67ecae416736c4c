"""Top-k and rand-k, Sobaya next to NumPy, on one core in one run.

Writes a table in Markdown and, next to it, everything measured in JSON.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from compare import ROOT, call, cpu_model, rotated
from one_core import pin, single_thread

NUMPY = "numpy"
METHODS: dict[str, dict[str, dict]] = {
    "top-k": {"top-k": {"kind": "top-k"}},
    "rand-k": {
        "rand-k uniform": {"kind": "rand-k", "sampler": "uniform"},
        "rand-k stratified": {"kind": "rand-k", "sampler": "stratified"},
    },
}
"""What Sobaya runs for each of NumPy's tasks; the ratio is added."""

Cell = tuple[str, int, float]
Result = dict[str, Any]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--sobaya", type=Path, default=ROOT / "target/release/sobaya", help="the program to time")
    add("--dim", type=int, nargs="+", default=[25450, 1000000, 10000000], help="vector lengths")
    add("--ratios", type=float, nargs="+", default=[0.01, 0.1], help="shares that are kept")
    add("--rounds", type=int, default=3, help="measurements of everything, to take the median of")
    add("--seconds", type=float, default=0.5, help="time of one measurement")
    add("--core", type=int, help="core to run on, the last one allowed if not given")
    add(
        "--output",
        type=Path,
        default=ROOT / "docs/compression-speed.md",
        help="table; the JSON goes next to it",
    )
    args = parser.parse_args()
    if args.rounds < 1 or args.seconds <= 0:
        parser.error("rounds and seconds are positive")
    if args.output.suffix == ".json":
        parser.error("--output names the table; the JSON file is named after it")
    return args


def numpy_task(task: str, dim: int, count: int) -> Callable[[], object]:
    """One selection by NumPy: indices and values, in the fastest way its interface has."""
    rng = np.random.default_rng(0)
    v = rng.standard_normal(dim, dtype=np.float32)
    if task == "rand-k":
        return lambda: v[rng.choice(dim, count, replace=False, shuffle=False)]
    magnitudes = np.empty_like(v)

    def top_k() -> np.ndarray:
        np.abs(v, out=magnitudes)
        return v[np.argpartition(magnitudes, dim - count)[dim - count :]]

    return top_k


def time_numpy(cell: Cell, seconds: float) -> Result:
    """Median processor time of a call, over chunks of some milliseconds."""
    task, dim, ratio = cell
    run = numpy_task(task, dim, max(1, round(ratio * dim)))

    def chunk(calls: int) -> float:
        start = time.process_time()
        for _ in range(calls):
            run()
        return (time.process_time() - start) / calls

    chunk(2)
    calls = max(1, int(5e-3 / max(chunk(2), 1e-9)))
    times: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(times) < 5:
        times.append(chunk(calls))
    return {"encode_seconds": median(times), "lowest_encode_seconds": min(times)}


def time_sobaya(method: dict, cell: Cell, args: argparse.Namespace, environment: dict) -> Result:
    """One row of `sobaya bench compress`."""
    compressor = json.dumps({**method, "ratio": cell[2]})
    command = ["bench", "compress", "--json", "--dim", str(cell[1]), "--compressor", compressor]
    command += ["--seconds", str(args.seconds)]
    printed = call([str(args.sobaya), *command], environment)
    if len(printed["rows"]) != 1:
        sys.exit(f"compress_peers.py: {args.sobaya} printed {len(printed['rows'])} rows")
    return {**printed["rows"][0], "machine": printed["machine"], "kernels": printed["kernels"]}


def measure(args: argparse.Namespace, cells: list[Cell]) -> list[Result]:
    """All measurements, in the order in which they were made."""
    environment = dict(os.environ)
    single_thread(environment)
    results: list[Result] = []
    for turn in range(args.rounds):
        for place, cell in enumerate(cells):
            task, dim, ratio = cell
            methods = METHODS[task]
            for impl in rotated([NUMPY, *methods], turn + place):
                if impl == NUMPY:
                    result = time_numpy(cell, args.seconds)
                else:
                    result = time_sobaya(methods[impl], cell, args, environment)
                head = {"round": turn + 1, "load": os.getloadavg()[0], "task": task, "impl": impl}
                results.append({**head, "dim": dim, "ratio": ratio, **result})
                print(
                    f"round {turn + 1}, {task} {ratio:g} of {dim}: {impl} "
                    f"{1e6 * result['encode_seconds']:.1f} us",
                    file=sys.stderr,
                    flush=True,
                )
    return results


def summarize(results: list[Result], cells: list[Cell]) -> list[Result]:
    """The medians over the rounds, a row for each of Sobaya's methods."""

    def of(cell: Cell, impl: str, key: str) -> float:
        return median(
            result[key]
            for result in results
            if (result["task"], result["dim"], result["ratio"]) == cell and result["impl"] == impl
        )

    rows = []
    for cell in cells:
        for impl in METHODS[cell[0]]:
            numpy, sobaya = (of(cell, i, "encode_seconds") for i in (NUMPY, impl))
            memcpy = of(cell, impl, "memcpy_seconds")
            rows.append(
                {
                    "task": cell[0],
                    "dim": cell[1],
                    "ratio": cell[2],
                    "method": impl,
                    "numpy_seconds": numpy,
                    "sobaya_seconds": sobaya,
                    "memcpy_seconds": memcpy,
                    "speedup": numpy / sobaya,
                }
            )
    return rows


def table(rows: list[Result], facts: Result) -> str:
    """The table in Markdown."""
    lines = [
        "# Speed of top-k and rand-k",
        "",
        "Microseconds to compress one standard normal vector in f32. NumPy: `argpartition` of the "
        "magnitudes, `Generator.choice` without replacement and without shuffling, and the values "
        "at these indices. Sobaya: the whole packet, ready to be sent. One core, one thread, "
        f"processor time, in turn in one run; medians of {facts['rounds']} rounds of "
        f"{facts['seconds']:g} s each.",
        "",
        f"{facts['date']}; {facts['cpu']}; NumPy {facts['numpy']}; Sobaya with {facts['kernels']}.",
        "",
        "| d | K/d | NumPy | us | Sobaya | us | times memcpy | NumPy / Sobaya |",
        "| ---: | ---: | :--- | ---: | :--- | ---: | ---: | ---: |",
    ]
    functions = {"top-k": "argpartition", "rand-k": "choice"}
    lines += [
        f"| {row['dim']:,} | {row['ratio']:.0%} | {functions[row['task']]} "
        f"| {1e6 * row['numpy_seconds']:,.1f} | {row['method']} "
        f"| {1e6 * row['sobaya_seconds']:,.1f} "
        f"| {row['sobaya_seconds'] / row['memcpy_seconds']:.2f} | {row['speedup']:.1f} |"
        for row in rows
    ]
    return "\n".join([*lines, "", "How it is measured: `benches/peers/README.md`.", ""])


def main() -> None:
    """Measure and write both files."""
    args = arguments()
    if not os.access(args.sobaya, os.X_OK):
        sys.exit(f"compress_peers.py: {args.sobaya} is missing; run cargo build --release first")
    args.sobaya = args.sobaya.resolve()
    pin(args.core)  # the programs started from here inherit it
    cells = [(task, dim, ratio) for task in METHODS for dim in args.dim for ratio in args.ratios]
    results = measure(args, cells)
    rows = summarize(results, cells)
    facts = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpu": cpu_model(),
        "numpy": np.__version__,
        "kernels": next(result["kernels"] for result in results if "kernels" in result),
        "rounds": args.rounds,
        "seconds": args.seconds,
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(table(rows, facts))
    record = {**facts, "rows": rows, "measurements": results}
    args.output.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    print(table(rows, facts))


if __name__ == "__main__":
    main()
