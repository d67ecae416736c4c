"""The numbers behind the plots."""

from __future__ import annotations

import numpy as np
import pytest

from sobaya_analysis.curves import (
    AXES,
    METRICS,
    has_data,
    median_curve,
    quantile,
    row_of,
    running_mean,
    series,
    thin,
    window_for,
)
from sobaya_analysis.figures import values_within
from sobaya_analysis.runs import load_run

from .conftest import MakeLog, config_of

ITERATION, BITS, WALL = AXES
LOSS, ACCURACY, NORM, CONSENSUS = METRICS


def test_limits_hold_the_curves_that_stay_finite(make_log: MakeLog) -> None:
    norms = {"lost": 10.0 ** np.arange(0, 300, 25)[:6], "good": 10.0 ** -np.arange(6)}
    runs = {
        name: load_run(make_log(name, replace={"hypergradient_norm": norm}))
        for name, norm in norms.items()
    }

    def highest(*groups: list[str]) -> float:
        curves = [median_curve([runs[n] for n in names], NORM, ITERATION) for names in groups]
        return float(values_within(NORM, curves).max())

    assert highest(["lost"]) == highest(["lost"], ["lost"]) == 1e25, "1e50 and more do not count"
    assert highest(["lost"], ["good"]) == 1
    assert highest(["good", "good", "lost"]) == 1, "the median, without the band"
    assert highest(["good", "lost"], ["good"]) == 1
    assert values_within(NORM, []).size == 0


@pytest.mark.parametrize(("rows", "window"), [(1, 1), (99, 1), (100, 3), (2000, 41), (10**6, 501)])
def test_window(rows: int, window: int) -> None:
    assert window_for(rows) == window


def test_running_mean_by_hand() -> None:
    mean = running_mean(np.array([1.0, 2.0, 6.0, 4.0, 8.0]), 3)
    assert mean.tolist() == [1.0, 3.0, 4.0, 6.0, 6.0]
    assert running_mean(np.array([5.0]), 41).tolist() == [5.0]
    assert running_mean(np.empty(0), 3).size == 0


def test_running_mean_leaves_out_nan_rows() -> None:
    mean = running_mean(np.array([np.nan, 2.0, 4.0, np.nan, 8.0, 1.0]), 3)
    np.testing.assert_allclose(mean, [np.nan, 2.0, 3.0, np.nan, 4.5, 4.5])
    assert np.isnan(running_mean(np.full(4, np.nan), 3)).all()


def test_running_mean_keeps_straight_lines_and_small_values() -> None:
    line = np.linspace(3.0, 1.0, 200)
    np.testing.assert_allclose(running_mean(line, 21)[:190], line[:190], rtol=1e-12)
    decay = 10.0 ** -np.linspace(0, 12, 400)
    smooth = running_mean(decay, 9)
    assert np.all(np.abs(np.log10(smooth / decay)) < 0.1), "no cancellation over 12 decades"


def test_quantile_agrees_with_numpy() -> None:
    values = np.random.default_rng(3).normal(size=(7, 40))
    values[np.random.default_rng(4).random((7, 40)) < 0.4] = np.nan
    values[0] = 1.0
    for q in (0.2, 0.5, 0.8):
        np.testing.assert_allclose(quantile(values, q), np.nanquantile(values, q, axis=0))


def test_join_takes_the_last_row_before() -> None:
    iteration = np.array([0, 10, 20, 25])
    assert row_of(iteration, np.array([-1, 0, 9, 10, 24, 25, 99])).tolist() == [
        -1,
        0,
        0,
        1,
        2,
        3,
        3,
    ]


def test_evaluations_are_joined_to_thinned_rows(make_log: MakeLog) -> None:
    rows = np.array([0, 4, 8, 10])
    replace = dict.fromkeys(("upload_bytes", "upload_bits_per_worker"), rows * 10)
    replace |= {"iteration": rows, "upper_loss": rows * 1.0, "wall_time": rows * 0.5}
    run = load_run(make_log("thinned", replace=replace))
    iteration, x, y = series(run, ACCURACY, WALL)
    assert iteration.tolist() == [0, 2, 4, 6, 8, 10]
    assert x.tolist() == [0.0, 0.0, 2.0, 2.0, 4.0, 5.0]
    assert y[0] == 0.5
    iteration, x, _ = series(run, ACCURACY, BITS)
    assert iteration.tolist() == [4, 6, 8, 10], "no zero on the logarithmic axis"
    assert x.tolist() == [40.0, 40.0, 80.0, 100.0]
    assert series(run, ACCURACY, ITERATION)[1].tolist() == [0, 2, 4, 6, 8, 10]


def test_median_and_band_over_seeds(make_log: MakeLog) -> None:
    runs = []
    for seed, accuracy in enumerate([0.1, 0.5, 0.2, 0.4, 0.3], start=1):
        replace = {
            "test_accuracy": np.full(6, accuracy),
            "wall_time": seed * np.arange(11.0),
        }
        runs.append(load_run(make_log(str(seed), config_of(seed=seed), replace=replace)))
    curve = median_curve(runs, ACCURACY, WALL)
    assert curve.n == 5
    np.testing.assert_allclose(curve.median, 0.3)
    np.testing.assert_allclose(curve.low, 0.18)
    np.testing.assert_allclose(curve.high, 0.42)
    np.testing.assert_allclose(curve.x, 3 * np.arange(0, 11, 2), err_msg="median wall time")


def test_curve_ends_where_fewer_than_half_of_the_runs_are(make_log: MakeLog) -> None:
    rows = (11, 7, 5)
    runs = [load_run(make_log(f"r{n}", config_of(seed=n), n_rows=n)) for n in rows]
    curve = median_curve(runs, NORM, ITERATION)
    assert curve.x.tolist() == [0, 2, 4, 6]
    assert curve.n == 3
    np.testing.assert_allclose(curve.median, [1, 0.1, 0.01, 0.001])


def test_sparse_hypergradients_and_missing_metrics(make_log: MakeLog) -> None:
    norm = np.array([1.0, np.nan, np.nan, 0.1, np.nan, 0.01])
    replace = {"hypergradient_norm": norm, "test_accuracy": np.full(6, np.nan)}
    run = load_run(make_log("a", replace=replace))
    assert median_curve([run], NORM, ITERATION).x.tolist() == [0, 6, 10]
    assert has_data([run], NORM)
    assert not has_data([run], ACCURACY)
    assert len(median_curve([run], ACCURACY, ITERATION)) == 0


def test_loss_has_the_same_heights_on_all_axes(make_log: MakeLog) -> None:
    run = load_run(make_log("a", n_rows=301))
    curves = [median_curve([run], LOSS, axis) for axis in AXES]
    for curve in curves:
        np.testing.assert_array_equal(curve.median, curves[0].median)
    assert len(curves[0]) == 300, "row 0 has no loss"


def test_thin() -> None:
    assert thin(3, 10).tolist() == [0, 1, 2]
    at = thin(100_000, 1500)
    assert len(at) <= 1500
    assert (at[0], at[-1]) == (0, 99_999)


def test_limits_leave_out_the_accuracy_of_the_untrained_model(make_log: MakeLog) -> None:
    accuracy = np.array([0.1, 0.7, 0.75, 0.8, 0.8, 0.8])
    run = load_run(make_log("a", replace={"test_accuracy": accuracy}))
    curves = [median_curve([run], ACCURACY, ITERATION)]
    assert values_within(ACCURACY, curves).min() == 0.7
    assert curves[0].median[0] == 0.1, "it is drawn as far as it fits"
    assert values_within(NORM, [median_curve([run], NORM, ITERATION)]).max() == 1.0
