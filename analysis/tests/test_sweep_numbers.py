"""The numbers behind the figures of a sweep, against values worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sobaya_analysis.sweep import (
    against,
    equal_bytes,
    heatmap,
    phases,
    speedup,
    stability,
    target,
    traffic,
)
from sobaya_analysis.sweep.experiment import Experiment, experiment
from sobaya_analysis.sweep.learning import curves_of
from sobaya_analysis.sweep.model import read_sweep
from sobaya_analysis.sweep.numbers import MEASURES, Band, Measure, band, paired
from sobaya_analysis.sweep.part import Choices

from .sweeps import EVALUATIONS, Behaviour, evaluated, uploaded, write_sweep
from .test_sweep_model import grid

ACCURACY, _, NORM = MEASURES
LOST = {"status": "failed", "stop_reason": "y at iteration 60: an entry is not a number"}
Build = Callable[[list[dict[str, Any]], Behaviour], Experiment]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Return a function that writes a sweep and reads it back."""
    return lambda members, behaviour: experiment(
        read_sweep(write_sweep(tmp_path / "sweep", members, behaviour))
    )


def rising(final: float) -> np.ndarray:
    """Accuracy that rises linearly from 0 to `final` over the first half, then stays."""
    return final * np.minimum(EVALUATIONS / 50, 1)


def test_band_is_the_median_and_the_20_to_80_per_cent_quantiles() -> None:
    assert band([5, 1, 4, 2, 3, None, math.nan]) == Band(3, 1.8, 4.2, 5)
    assert band([7]) == Band(7, 7, 7, 1)
    assert band([None]) is None


def test_band_with_runs_that_diverged() -> None:
    lost = -math.inf
    assert band([1, 2, 3, 4, 5, lost]) == Band(2.5, 1, 4, 6)
    assert band([1, 2, lost, lost]) == Band(lost, lost, pytest.approx(1.4), 4)
    assert band([1, 2, 3, math.inf]) == Band(2.5, pytest.approx(1.6), math.inf, 4)


def test_final_values_are_paired_by_seed(build: Build) -> None:
    values = {
        "soba": {1: 0.90, 2: 0.92, 3: 0.94, 4: 0.90},
        "ef-soba": {1: 0.89, 2: 0.90, 3: 0.91, 4: 0.90},
    }

    def behaviour(config: dict[str, Any]) -> dict[str, Any]:
        kind = config["algorithm"]["kind"]
        done = evaluated(test_accuracy=rising(values[kind][config["seed"]]))
        done |= uploaded(10_000 if kind == "soba" else 500)
        return done | (LOST if kind == "soba" and config["seed"] == 4 else {})

    found = build(grid(algorithm__kind=["ef-soba", "soba"], seed=[1, 2, 3, 4]), behaviour)
    soba, ef = found.cells
    assert paired(ef, soba, ACCURACY) == Band(
        pytest.approx(2.0), pytest.approx(1.4), pytest.approx(2.6), 3
    )
    base, row = traffic.rows(found.cells, ACCURACY)
    assert base.times_less == 1
    assert base.lost is not None
    assert base.lost.median == 0
    assert (row.bytes, row.times_less) == (500, 20)
    assert row.final is not None
    assert row.final.median == pytest.approx(90.0)


def test_accuracy_at_equal_bytes(build: Build) -> None:
    def behaviour(config: dict[str, Any]) -> dict[str, Any]:
        cheap = config["algorithm"]["kind"] == "ef-soba"
        return evaluated(test_accuracy=rising(0.8)) | uploaded(1000 if cheap else 10_000)

    found = build(grid(algorithm__kind=["soba", "ef-soba"], seed=[1, 2]), behaviour)
    assert equal_bytes.budgets(found.cells) == [1000, 2000, 5000, 10_000]
    soba, ef = equal_bytes.rows(found.cells, ACCURACY, [500, 1000, 2000, 10_000])
    # The rise ends halfway: soba has uploaded 5000 bytes then, ef-soba 500.
    assert [b.median for b in soba.values if b] == pytest.approx([8, 16, 32, 80])
    assert [b.median for b in ef.values if b] == pytest.approx([80, 80, 80, 80])


def test_bytes_to_a_target(build: Build) -> None:
    def behaviour(config: dict[str, Any]) -> dict[str, Any] | None:
        kind, seed = config["algorithm"]["kind"], config["seed"]
        if kind == "soba":
            return evaluated(test_accuracy=rising(0.81)) | uploaded(10_000)
        if kind == "c-soba":
            return evaluated(test_accuracy=rising(0.7 if seed else 0.8)) | uploaded(1000)
        return evaluated(test_accuracy=rising(1.0)) | uploaded(1000)

    found = build(grid(algorithm__kind=["soba", "c-soba", "ef-soba"], seed=[0, 1, 2]), behaviour)
    soba, c_soba, ef = target.rows(found.cells, ACCURACY, None)
    assert [row.target for row in (soba, c_soba, ef)] == pytest.approx([80, 80, 80])
    assert soba.bytes.median == pytest.approx(5000 * 80 / 81)
    assert ef.bytes.median == pytest.approx(400)
    assert (c_soba.bytes.median, c_soba.reached) == (math.inf, 1)
    (half,) = [row for row in target.rows(found.cells, ACCURACY, 35.0) if row.cell.kind == "c-soba"]
    assert half.bytes.median == pytest.approx(250)


def test_the_target_of_a_norm_is_reached_from_above(build: Build) -> None:
    def behaviour(_config: dict[str, Any]) -> dict[str, Any]:
        return evaluated(hypergradient_norm=11.0 - EVALUATIONS / 10) | uploaded(1000)

    found = build(grid(seed=[1]), behaviour)
    (row,) = target.rows(found.cells, NORM, None)
    assert row.target == 2.0, "twice the final norm of soba"
    assert row.bytes.median == pytest.approx(900)


@pytest.mark.parametrize(("measure", "given"), [(NORM, 3.0), (ACCURACY, 10.0)])
def test_a_default_target_that_runs_begin_with_is_left_out(
    build: Build, measure: Measure, given: float
) -> None:
    """Runs that do not halve their norm, or gain less than a point of accuracy."""

    def behaviour(_config: dict[str, Any]) -> dict[str, Any]:
        norm, accuracy = 3.0 - EVALUATIONS / 100, 0.1 + 5e-5 * EVALUATIONS
        return evaluated(**{measure.column: norm if measure == NORM else accuracy}) | uploaded(1000)

    found = build(grid(algorithm__kind=["soba", "ef-soba"], seed=[1, 2]), behaviour)
    assert target.rows(found.cells, measure, None) == []
    assert target.parts(found, measure, Choices()) == []
    rows = target.rows(found.cells, measure, given)
    assert [row.bytes.median for row in rows] == [0, 0], "a given one is the user's"


def test_heat_map_marks_runs_that_diverged_or_failed(build: Build) -> None:
    def behaviour(config: dict[str, Any]) -> dict[str, Any] | None:
        ratio, alpha, seed = (
            config["compressor"]["ratio"],
            config["algorithm"]["alpha"],
            config["seed"],
        )
        done = evaluated(test_accuracy=rising(ratio + alpha))
        if alpha == 0.4 and (ratio == 0.1 or seed == 1):
            return done | LOST
        if ratio == 0.5 and alpha == 0.2:
            return done | {"status": "failed", "stop_reason": "disk full"}
        return None if ratio == 0.5 and alpha == 0.1 else done

    ratios = [{"kind": "rand-k", "ratio": r} for r in (0.5, 0.1)]
    members = grid(
        algorithm__kind=["c-soba"], compressor=ratios, algorithm__alpha=[0.1, 0.2, 0.4], seed=[1, 2]
    )
    found = build(members, behaviour)
    pair = heatmap.axis_pair(found, Choices())
    assert pair == ("compressor.ratio", "algorithm.alpha")
    assert heatmap.axis_pair(found, Choices(rows="algorithm.alpha")) == pair[::-1]
    (one,) = heatmap.maps(found, *pair, ACCURACY)
    assert (one.rows, one.columns) == ((0.1, 0.5), (0.1, 0.2, 0.4))
    assert one.values[0] == pytest.approx([20, 30, -math.inf])
    assert np.isnan(one.values[1, :2]).all()
    assert one.marks.tolist() == [["", "", "diverged"], ["", "failed", "1 of 2 diverged"]]


def test_noise_floor_of_a_linear_speed_up_has_exponent_one_half(build: Build) -> None:
    def behaviour(config: dict[str, Any]) -> dict[str, Any]:
        size = {"soba": 1.0, "c-soba": 3.0}[config["algorithm"]["kind"]]
        floor = size * (1 + 0.1 * config["seed"]) / math.sqrt(config["workers"])
        late = EVALUATIONS >= 50
        return evaluated(hypergradient_norm=np.where(late, floor, 1e3))

    members = grid(algorithm__kind=["soba", "c-soba"], workers=[1, 2, 4, 8, 16], seed=[0, 1, 2, 3])
    soba, other = speedup.lines(build(members, behaviour))
    for line, size in ((soba, 1.0), (other, 3.0)):
        assert line.exponent == pytest.approx(-0.5)
        assert line.interval == pytest.approx((-0.5, -0.5)), "all seeds agree"
        pooled = math.sqrt(np.mean([1.0, 1.1**2, 1.2**2, 1.3**2]))
        assert line.floor == pytest.approx([size * pooled / math.sqrt(n) for n in (1, 2, 4, 8, 16)])
        assert line.seeds == 4
    assert [soba.cell.label, other.cell.label] == ["soba", "c-soba"]


def test_interval_of_the_exponent_covers_the_seeds() -> None:
    slopes = {seed: -0.5 + 0.1 * (seed - 2) for seed in range(5)}
    floors = {n: {s: n**slope for s, slope in slopes.items()} for n in (1, 2, 4, 8)}
    interval = speedup.bootstrap(floors)
    assert interval is not None
    assert -0.65 < interval[0] < -0.5 < interval[1] < -0.3
    assert speedup.bootstrap({n: {0: 1.0, 1: 2.0} for n in (1, 2)}) is None, "two seeds only"
    assert speedup.bootstrap(floors) == interval, "the same draws each time"


def test_final_values_against_heterogeneity(build: Build) -> None:
    def behaviour(config: dict[str, Any]) -> dict[str, Any]:
        loss = {"soba": 0.0, "c-soba": 0.1}[config["algorithm"]["kind"]]
        part = config["partition"]
        return evaluated(test_accuracy=rising(0.9 - loss / part.get("concentration", 100)))

    partitions = [{"kind": "dirichlet", "concentration": c} for c in (10, 1, 0.5)]
    members = grid(
        algorithm__kind=["soba", "c-soba"], partition=[*partitions, {"kind": "iid"}], seed=[1, 2]
    )
    found = build(members, behaviour)
    assert against.chosen_axes(found, Choices()) == ["partition.concentration"]
    soba, other = against.lines(found.cells, "partition.concentration", ACCURACY)
    assert soba.x == other.x == (0.5, 1, 10)
    assert [b.median for b in other.bands] == pytest.approx([70, 80, 89])
    assert other.everywhere is not None, "iid has no concentration"
    assert other.everywhere.median == pytest.approx(89.9)
    assert [soba.cell.label, other.cell.label] == ["soba", "c-soba"]


def test_lines_over_the_ratio_take_the_best_step_of_each_point(build: Build) -> None:
    def behaviour(config: dict[str, Any]) -> dict[str, Any]:
        best = 0.1 if config["compressor"]["ratio"] == 0.1 else 0.2
        return evaluated(test_accuracy=rising(0.9 - abs(config["algorithm"]["alpha"] - best)))

    ratios = [{"kind": "rand-k", "ratio": r} for r in (0.1, 0.5)]
    members = grid(algorithm__kind=["c-soba"], compressor=ratios, algorithm__alpha=[0.1, 0.2])
    found = build(members, behaviour)
    cells = against.merged_steps(
        found.cells, found.step_axes, lambda cell: against.score(cell, ACCURACY)
    )
    (line,) = against.lines(cells, "compressor.ratio", ACCURACY, found.step_axes)
    assert line.x == (0.1, 0.5)
    assert [b.median for b in line.bands] == pytest.approx([90, 90])


def test_largest_step_size_that_trains(build: Build) -> None:
    def behaviour(config: dict[str, Any]) -> dict[str, Any]:
        kind, alpha = config["algorithm"]["kind"], config["algorithm"]["alpha"]
        if kind == "c-soba" and alpha >= 0.4:
            return evaluated(test_accuracy=rising(0.9)) | LOST
        drop = 0.2 if kind == "c-soba" and alpha == 0.2 else 0.0
        flat = kind == "cm-soba"
        return evaluated(test_accuracy=np.full(11, 0.1) if flat else rising(0.9 - drop))

    members = grid(
        algorithm__kind=["soba", "c-soba", "cm-soba"], algorithm__alpha=[0.1, 0.2, 0.4], seed=[1, 2]
    )
    soba, c_soba, flat = stability.limits(
        build(members, behaviour), "algorithm.alpha", ACCURACY, 5.0
    )
    assert (soba.largest, soba.open_ended) == (0.4, True)
    assert (c_soba.largest, c_soba.open_ended) == (0.1, False)
    assert flat.largest is None, "no better than at the start"
    assert soba.tried == (0.1, 0.2, 0.4)


def test_without_accuracy_a_run_trains_if_norm_and_loss_fall(build: Build) -> None:
    def behaviour(config: dict[str, Any]) -> dict[str, Any]:
        rows = np.arange(101) / 100
        loss = 2 - rows if config["algorithm"]["alpha"] < 0.3 else 2 + rows
        growth = 1 if config["algorithm"]["alpha"] == 0.2 else -1
        norm = 10.0 ** (growth * EVALUATIONS / 100)
        if config["problem"]["kind"] == "quadratic":
            norm = np.where(EVALUATIONS == 100, 0.1, np.nan)
        return evaluated(hypergradient_norm=norm) | {"upper_loss": loss}

    members = grid(problem__kind=["any", "quadratic"], algorithm__alpha=[0.1, 0.2, 0.4])
    found = stability.limits(build(members, behaviour), "algorithm.alpha", NORM, 5.0)
    assert [limit.largest for limit in found] == [0.1, 0.2], "at 0.2 the norm grows, if it is known"


def test_time_per_iteration_is_the_median_over_the_seeds(build: Build) -> None:
    def behaviour(config: dict[str, Any]) -> dict[str, Any]:
        return evaluated(test_accuracy=0.9) | {
            "seconds": {"compute": [0.1, 0.2, 0.6][config["seed"]]}
        }

    (row,) = phases.rows(build(grid(seed=[0, 1, 2]), behaviour).cells)
    assert row.times["compute"] == pytest.approx(2.0), "0.2 s in 100 iterations"
    assert row.times["wait"] == 0


def test_one_value_is_no_curve(build: Build) -> None:
    end = np.where(EVALUATIONS == 100, 1.0, np.nan)
    found = build(
        grid(seed=[1]), lambda _: evaluated(test_accuracy=rising(0.9), hypergradient_norm=end)
    )
    columns = [metric.column for metric in curves_of(found.cells[0].runs)]
    assert columns == ["upper_loss", "test_accuracy"]
