#!/usr/bin/env python3
"""Figure of docs/results/decentralized.md: time per iteration of a ring and of a star of hosts.

`jobs/ring-and-star.py PROGRAM RUNS FIGURES`: emulates 8 hosts (see jobs/cluster/hosts-up.sh for the
rights that this needs), runs D-SOBA on a ring and CM-SOBA with its server on the first host, one
agent or worker a host, on 3 to 8 of them, and writes FIGURES/ring-and-star.png. RUNS is a folder
for the program's output (what is there already is not run again). Other work on the machine
falsifies the times. Not to be interrupted by SIGKILL: the hosts would stay.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import matplotlib.pyplot as plt
import numpy as np

CLUSTER = Path(__file__).resolve().parent / "cluster"
SIZES = range(3, 9)
WARM_UP = 5
"""Iterations at the start that are not timed: TCP widens its windows."""
STEPS = {"alpha": 0.03, "beta": 0.03, "gamma": 0.03}
# A vector that is long for the link, and a batch so small that the ranks need not share cores long.
CONFIG: dict[str, Any] = {
    "name": "ring-and-star",
    "precision": "f32",
    "iterations": 40,
    "problem": {
        "kind": "hyper-representation",
        "dataset": "mnist-small",
        "hidden": [200],
        "batch_lower": 4,
        "batch_upper": 4,
    },
    "evaluate": {"every": 1000},
    "checkpoint": {"at_end": False},
}
METHODS: dict[str, dict[str, Any]] = {
    "ring": {"algorithm": {"kind": "d-soba", **STEPS}, "topology": {"kind": "ring"}},
    "star": {
        "algorithm": {"kind": "cm-soba", "theta": 1, **STEPS},
        "compressor": {"kind": "identity"},
    },
}
LABELS = {"ring": "ring (d-soba)", "star": "star (cm-soba)"}


def run(program: Path, folder: Path, method: str, n: int) -> Path:
    """The log of a run on n hosts, which is made if it is not there."""
    if not (folder / "summary.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        config = folder.with_suffix(".json")
        config.write_text(json.dumps(CONFIG | METHODS[method] | {"workers": n}))
        command = [CLUSTER / "mpirun-hosts.sh", str(n), program, "run", config, "--out", folder]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{folder}: exit status {done.returncode}: {done.stderr[-500:]}")
    return folder / "log.h5"


def iteration(log: Path) -> float:
    """Median seconds of an iteration after the first ones."""
    with h5py.File(log) as file:
        return float(np.median(np.diff(file["wall_time"][:])[WARM_UP:]))


def message(log: Path) -> int:
    """Bytes that the whole run uploaded, per iteration."""
    with h5py.File(log) as file:
        return int(file["upload_bytes"][-1]) // int(file["iteration"][-1])


def draw(seconds: dict[tuple[str, int], list[float]], folder: Path) -> None:
    """Medians of the repetitions against the number of hosts, bars from lowest to highest."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    axes.set(xlabel="hosts, an agent each", ylabel="time per iteration [ms]")
    for method in METHODS:
        times = 1e3 * np.array([seconds[method, n] for n in SIZES])
        middle = np.median(times, axis=1)
        bars = [middle - times.min(axis=1), times.max(axis=1) - middle]
        axes.errorbar(SIZES, middle, yerr=bars, fmt="o-", capsize=3, label=LABELS[method])
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "ring-and-star.png", dpi=120)


def table(seconds: dict[tuple[str, int], list[float]]) -> str:
    """Rows of a table: medians in milliseconds, and over that of the smallest number of hosts."""
    lines = []
    for method, label in LABELS.items():
        middle = [1e3 * float(np.median(seconds[method, n])) for n in SIZES]
        ratios = " | ".join(f"{time / middle[0]:.2f}" for time in middle)
        lines.append(f"| {label} [ms] | " + " | ".join(f"{time:.0f}" for time in middle) + " |")
        lines.append(f"| over that of {SIZES[0]} | {ratios} |")
    return "\n".join(lines)


def main() -> None:
    """Makes the hosts, the runs that are missing, the figure and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("figures", type=Path)
    parser.add_argument("--rate", default="100mbit", help="of a host's link")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    program, runs = arguments.program.resolve(), arguments.runs.resolve()
    os.environ["HOSTS_DIR"] = str(runs / "hosts")
    # So that the hosts are removed then, too.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(75))
    runs.mkdir(parents=True, exist_ok=True)
    seconds: dict[tuple[str, int], list[float]] = {}
    sent: dict[tuple[str, int], int] = {}
    subprocess.run([CLUSTER / "hosts-up.sh", str(max(SIZES)), arguments.rate], check=True)
    try:
        # The repetitions lie apart, so that what else the machine did meets all sizes.
        for repeat in range(arguments.repeats):
            for n in SIZES:
                for method in METHODS:
                    log = run(program, runs / f"{method}-{n}-{repeat}", method, n)
                    seconds.setdefault((method, n), []).append(iteration(log))
                    sent[method, n] = message(log)
    finally:
        subprocess.run([CLUSTER / "hosts-down.sh"], check=True)
    print(table(seconds))
    for method in METHODS:
        of_sizes = ", ".join(f"{sent[method, n]:,}" for n in SIZES)
        print(f"{method}: bytes uploaded an iteration, all agents: {of_sizes}")
    draw(seconds, arguments.figures)


if __name__ == "__main__":
    main()
