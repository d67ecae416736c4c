"""The numbers of runs without a server: consensus, and maps over topologies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sobaya_analysis.curves import AXES, METRICS, median_curve
from sobaya_analysis.sweep import consensus, heatmap
from sobaya_analysis.sweep.experiment import Experiment, experiment, reference
from sobaya_analysis.sweep.model import read_sweep
from sobaya_analysis.sweep.numbers import MEASURES
from sobaya_analysis.sweep.part import Choices

from .sweeps import EVALUATIONS, evaluated, uploaded, write_sweep
from .test_sweep_model import grid

NORM = MEASURES[2]
GAPS = {"ring": 0.1, "torus": 0.25, "complete": 0.5}
"""In an order that is not the alphabet's."""


def behaviour(config: dict[str, Any]) -> dict[str, Any]:
    """Errors that grow with heterogeneity and shrink with the gap; soba is at consensus."""
    if config["algorithm"]["kind"] == "soba":
        return evaluated(hypergradient_norm=0.01) | uploaded(1000)
    gap = GAPS[config["topology"]["kind"]]
    error = (config["seed"] + config["problem"]["heterogeneity"]) / gap
    errors = {
        f"consensus_error_{name}": np.where(EVALUATIONS == 0, 0.0, scale * error)
        for name, scale in (("x", 1.0), ("y", 2.0), ("z", 3.0))
    }
    return evaluated(hypergradient_norm=0.01 + error, **errors) | uploaded(2000)


@pytest.fixture
def found(tmp_path: Path) -> Experiment:
    """D-SOBA on three topologies, and soba, at two heterogeneities."""
    both = {"problem__heterogeneity": [0.5, 1.0], "seed": [0, 1, 2]}
    members = grid(algorithm__kind=["d-soba"], topology__kind=list(GAPS), **both)
    members += grid(algorithm__kind=["soba"], **both)
    return experiment(read_sweep(write_sweep(tmp_path / "sweep", members, behaviour)))


def test_consensus_errors_at_the_end(found: Experiment) -> None:
    (part,) = consensus.parts(found, NORM, Choices())
    assert part.table is not None
    assert [name for name, _ in part.table.head[1:]] == [f"consensus error of {v}" for v in "xyz"]
    rows = {row[0]: row[1:] for row in part.table.rows}
    assert rows["d-soba, heterogeneity 1, ring"] == [
        "2.00e+01 [1.40e+01, 2.60e+01]",
        "4.00e+01 [2.80e+01, 5.20e+01]",
        "6.00e+01 [4.20e+01, 7.80e+01]",
    ]
    assert rows["soba, heterogeneity 1"] == ["\N{EN DASH}"] * 3


def test_a_sweep_with_servers_has_no_consensus(tmp_path: Path) -> None:
    members = grid(algorithm__kind=["soba"], problem__heterogeneity=[0.5], seed=[0])
    sweep = read_sweep(write_sweep(tmp_path / "sweep", members, behaviour))
    assert consensus.parts(experiment(sweep), NORM, Choices()) == []


def test_consensus_against_iterations_and_bytes(found: Experiment) -> None:
    ring = next(cell for cell in found.cells if cell.settings["topology.kind"] == "ring")
    metric = next(metric for metric in METRICS if metric.column == "consensus_error_x")
    iterations, bits, _ = (median_curve(ring.runs, metric, axis) for axis in AXES)
    np.testing.assert_allclose(iterations.x, EVALUATIONS[1:], err_msg="no zero on a log axis")
    np.testing.assert_allclose(iterations.median, 15.0)
    np.testing.assert_allclose(bits.x, 8 * 20 * EVALUATIONS[1:])
    np.testing.assert_allclose(bits.median, 15.0)


def test_a_map_has_topologies_in_the_order_of_the_sweep(found: Experiment) -> None:
    choices = Choices(rows="topology.kind", columns="problem.heterogeneity")
    pair = heatmap.axis_pair(found, choices)
    assert pair == ("topology.kind", "problem.heterogeneity")
    d_soba = next(one for one in heatmap.maps(found, *pair, NORM) if one.title == "d-soba")
    assert d_soba.rows == tuple(GAPS)
    assert d_soba.columns == (0.5, 1.0)
    wanted = [[0.01 + (1 + h) / gap for h in (0.5, 1.0)] for gap in GAPS.values()]
    np.testing.assert_allclose(d_soba.values, wanted)


def test_a_topology_belongs_to_the_method(found: Experiment) -> None:
    for cell in found.cells:
        soba = reference(cell, found.cells)
        assert soba is not None
        assert soba.kind == "soba"
        key = "problem.heterogeneity"
        assert soba.settings[key] == cell.settings[key]
