#!/usr/bin/env python3
"""Figures of docs/results/decentralized.md: D-SOBA and SPARKLE on rings, over time, and weighted.

`jobs/decentralized.py PROGRAM RUNS FIGURES [--jobs N]`: RUNS is a folder for the program's output
(what is there already is not run again), FIGURES the folder for the figures. A run takes seconds,
on the ring of 32 and of those over time about half a minute.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullFormatter

CONFIG = Path(__file__).parent.parent / "configs" / "decentralized" / "d-soba.json"
RINGS = (4, 8, 16, 32)
SEEDS = (0, 1, 2)
SLOW: Keys = {"iterations": 20000, "evaluate.every": 250}
"""Of the largest ring, where gradient tracking settles after some 10,000 iterations, and without
noise, where corrections go on to 1e-9."""
BINS = 12
TOPOLOGIES = ("complete", "exponential", "torus", "ring")
LAMBDA = [0.3, 0.05, 0.1, 0.05, 0.2, 0.1, 0.05, 0.15]

Keys = dict[str, Any]


def d_soba(topology: str, decay: str = "none", steps: float = 1.0) -> Keys:
    """Keys of D-SOBA on a graph, lazy; on the complete one it is the centralized method."""
    return {
        "algorithm.kind": "d-soba",
        "algorithm.decay": decay,
        "algorithm.alpha": 0.01 * steps,
        "algorithm.beta": 0.03 * steps,
        "algorithm.gamma": 0.03 * steps,
        "topology.kind": topology,
        # A lazy complete graph would not average in one exchange.
        "mixing.lazy": topology != "complete",
    }


def sparkle(strategy: str) -> Keys:
    """Keys of SPARKLE with one strategy for all variables, on the ring."""
    names = dict.fromkeys("xyz", strategy)
    return {"algorithm.kind": "sparkle", "algorithm.strategy": names}


def methods(noise: float = 0.1) -> dict[str, Keys]:
    """Every run but its number of workers and its seed, by name."""
    short: Keys = {"iterations": 4000, "evaluate.every": 50, "problem.noise": noise}
    # The start must be forgotten soon and noise be what a server's method is left with: else
    # both methods fall together, and the ratio says nothing.
    long: Keys = {"iterations": 30000, "evaluate.every": 50, "workers": 16}
    long |= {"problem.noise": 0.5, "problem.mu": 1.0}
    all_runs = {
        "rings-centralized": short | d_soba("complete"),
        "rings-d-soba": short | d_soba("ring"),
        "rings-ed": short | sparkle("ed"),
        "rings-atc-gt": short | sparkle("atc-gt"),
    }
    for topology in TOPOLOGIES:
        decayed = d_soba(topology, "inverse-sqrt", 10.0)
        all_runs[f"transient-{topology}"] = long | decayed
    for mode in ("scaled", "row-stochastic"):
        weights = {"lambda": LAMBDA, "mode": mode}
        weighted = short | SLOW | {"workers": 8, "problem.noise": 0.0, "weights": weights}
        all_runs[f"weighted-{mode}-gossip"] = weighted | sparkle("gossip")
        all_runs[f"weighted-{mode}-ed"] = weighted | sparkle("ed")
    return all_runs


def run(program: Path, folder: Path, keys: Keys) -> Path:
    """The log of a run, which is made if it is not there."""
    summary = folder / "summary.json"
    if not summary.exists():
        command = [str(program), "run", str(CONFIG), "--out", str(folder)]
        for key, value in {"name": folder.name, "log.every": 100, **keys}.items():
            command += ["--set", f"{key}={json.dumps(value)}"]
        subprocess.run(command, check=True, capture_output=True)
    return folder / "log.h5"


def column(log: Path, name: str) -> np.ndarray:
    """A column of the evaluations, shape (E,)."""
    with h5py.File(log) as file:
        return file[name][:]


def settled(logs: list[Path]) -> float:
    """Root mean square of the hypergradient norm over the last half of runs."""
    norms = [column(log, "hypergradient_norm") for log in logs]
    return float(np.sqrt(np.mean([(norm[len(norm) // 2 :] ** 2).mean() for norm in norms])))


def new_axes(x: str, y: str) -> tuple[plt.Figure, plt.Axes]:
    """A figure with one pair of logarithmic axes."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    axes.set(xlabel=x, ylabel=y, xscale="log", yscale="log")
    axes.grid(alpha=0.3)
    return figure, axes


def draw_rings(logs: dict[tuple[str, int, int], Path], folder: Path) -> list[str]:
    """Ratio to the centralized method over rings; the rows of a table."""
    figure, axes = new_axes("agents on a ring", "hypergradient norm / centralized")
    of = {
        (name, n): settled([logs[name, n, seed] for seed in SEEDS])
        for name in methods()
        if name.startswith("rings-")
        for n in RINGS
    }
    rows = []
    for name in ("d-soba", "ed", "atc-gt"):
        ratios = [of[f"rings-{name}", n] / of["rings-centralized", n] for n in RINGS]
        axes.plot(RINGS, ratios, "o-", label=name)
        rows.append(f"| {name} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")
    axes.set_xticks(RINGS, [str(n) for n in RINGS])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.legend()
    figure.savefig(folder / "rings.png", dpi=120)
    return rows


def draw_transient(logs: dict[tuple[str, int, int], Path], folder: Path) -> list[str]:
    """Ratio to the centralized method over iterations, steps falling as 1 / sqrt(k).

    Root mean squares over the seeds, and over iterations between points that are evenly spaced on
    a logarithmic axis.
    """
    figure, axes = new_axes("iteration", "hypergradient norm / centralized")
    rows = []

    at = column(logs["transient-ring", 16, 0], "eval_iteration")[1:]
    edges = np.geomspace(at[0], at[-1] + 1, BINS + 1)
    bins = [(at >= low) & (at < high) for low, high in pairwise(edges)]

    def norms(topology: str) -> np.ndarray:
        of_seeds = [logs[f"transient-{topology}", 16, seed] for seed in SEEDS]
        squares = np.mean([column(log, "hypergradient_norm")[1:] ** 2 for log in of_seeds], axis=0)
        return np.sqrt([squares[inside].mean() for inside in bins])

    middle = [at[inside].mean() for inside in bins]
    for topology in TOPOLOGIES[1:]:
        ratios = norms(topology) / norms("complete")
        axes.plot(middle, ratios, "o-", markersize=4, label=topology)
        rows.append(f"| {topology} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")
    ticks = (1, 1.5, 2, 3, 4)
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.legend()
    figure.savefig(folder / "transient.png", dpi=120)
    return ["| iteration | " + " | ".join(f"{k:.0f}" for k in middle) + " |", *rows]


def draw_weighted(logs: dict[tuple[str, int, int], Path], folder: Path) -> None:
    """Consensus error and hypergradient norm of both ways to weigh agents."""
    figure, pair = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    for axes, name, label in zip(
        pair,
        ("consensus_error_x", "hypergradient_norm"),
        ("consensus error of x", "hypergradient norm"),
        strict=True,
    ):
        axes.set(xlabel="iteration", ylabel=label, yscale="log")
        axes.grid(alpha=0.3)
        for run_name in methods():
            if run_name.startswith("weighted-"):
                log = logs[run_name, 8, 0]
                at, values = column(log, "eval_iteration"), column(log, name)
                # Those of exact diffusion lie upon one another.
                line = "--" if "row-stochastic" in run_name else "-"
                axes.plot(at[1:], values[1:], line, label=run_name.removeprefix("weighted-"))
    pair[0].legend(fontsize="small")
    figure.savefig(folder / "weighted.png", dpi=120)


def main() -> None:
    """Makes the runs that are missing, and all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("figures", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    arguments.figures.mkdir(parents=True, exist_ok=True)
    wanted: dict[tuple[str, int, int], Keys] = {}
    for name, keys in methods().items():
        sizes = RINGS if name.startswith("rings-") else (keys["workers"],)
        seeds = SEEDS[:1] if name.startswith("weighted-") else SEEDS
        for n, seed in [(n, seed) for n in sizes for seed in seeds]:
            more = SLOW if name.startswith("rings-") and n == RINGS[-1] else {}
            wanted[name, n, seed] = keys | more | {"workers": n, "seed": seed}

    def make(item: tuple[tuple[str, int, int], Keys]) -> Path:
        (name, n, seed), keys = item
        return run(arguments.program, arguments.runs / f"{name}-{n}-{seed}", keys)

    with ThreadPoolExecutor(arguments.jobs) as pool:
        logs = dict(zip(wanted, pool.map(make, wanted.items()), strict=True))
    print("\n".join(draw_rings(logs, arguments.figures)))
    print("\n".join(draw_transient(logs, arguments.figures)))
    draw_weighted(logs, arguments.figures)


if __name__ == "__main__":
    main()
