"""Tuning: what is chosen for each method, by what, and what is said about it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sobaya_analysis.errors import SweepError
from sobaya_analysis.study.page import averaged
from sobaya_analysis.study.sweeps import final_sweep
from sobaya_analysis.study.tuning import choose
from sobaya_analysis.sweep.model import read_sweep

from .studies import ALPHAS, EF, members_of, study_of, tuned_logs
from .sweeps import evaluated, write_sweep


@pytest.mark.parametrize("measure", ["test_accuracy", "objective", "hypergradient_norm"])
def test_tuning_takes_the_best(tmp_path: Path, measure: str) -> None:
    tune = {"grid": {"algorithm.alpha": ALPHAS}, "measure": measure}
    study = study_of(tmp_path, tune=tune)
    sweep = read_sweep(write_sweep(tmp_path / "tuned", members_of(), tuned_logs))
    soba, ef = choose(study, sweep)
    # The norm alone is judged by its last value, which is best at 1.
    assert soba.tuned == {"algorithm.alpha": 1.0 if measure == "hypergradient_norm" else 0.3}
    assert soba.at_border == (
        {"algorithm.alpha"} if measure == "hypergradient_norm" else frozenset()
    )
    assert ef.tuned == {"algorithm.alpha": 0.1}
    assert ef.at_border == {"algorithm.alpha"}
    assert (soba.label, ef.label) == ("soba", "with feedback")
    assert (soba.tried, soba.diverged, ef.tried, ef.diverged) == (3, 0, 3, 1)
    assert ef.value == pytest.approx(0.71 if measure == "test_accuracy" else 0.29)
    assert final_sweep(study, [soba.settings, ef.settings])["list"] == [
        {"algorithm.kind": "soba", "algorithm.alpha": soba.tuned["algorithm.alpha"]},
        {**EF, "algorithm.alpha": 0.1},
    ]


def test_tail_says_how_many_evaluations_count(tmp_path: Path) -> None:
    study = study_of(tmp_path, tune={"grid": {"algorithm.alpha": ALPHAS}, "tail": 1})
    sweep = read_sweep(write_sweep(tmp_path / "tuned", members_of(), tuned_logs))
    assert choose(study, sweep)[0].tuned == {"algorithm.alpha": 1.0}


def test_the_default_is_the_upper_level_s_own_loss(tmp_path: Path) -> None:
    """At 1 soba has the lowest loss, at 0.3 the highest accuracy."""

    def logs(config: dict[str, Any]) -> dict[str, Any]:
        columns = tuned_logs(config)
        return columns | {"validation_loss": np.full(11, 2 - config["algorithm"]["alpha"])}

    sweep = read_sweep(write_sweep(tmp_path / "a", members_of(), logs))
    choices = choose(study_of(tmp_path), sweep)
    assert [choice.measure for choice in choices] == ["validation_loss"] * 2
    assert choices[0].tuned == {"algorithm.alpha": 1.0}
    assert averaged(choices) == "mean of the last 5 values"
    sweep = read_sweep(write_sweep(tmp_path / "b", members_of(), tuned_logs))
    assert choose(study_of(tmp_path), sweep)[0].measure == "test_accuracy", "no other is there"


def test_what_is_averaged_is_said_by_what_there_is(tmp_path: Path) -> None:
    def logs(known: int) -> Any:  # noqa: ANN401
        def behaviour(config: dict[str, Any]) -> dict[str, Any]:
            few = known if config["algorithm"]["kind"] == "soba" else 1
            return evaluated(objective=np.where(np.arange(11) > 10 - few, 0.5, np.nan))

        return behaviour

    study = study_of(tmp_path, tune={"grid": {"algorithm.alpha": ALPHAS}, "measure": "objective"})
    for known, words in ((1, "its last value"), (3, "mean of the last 1 to 3 values")):
        sweep = read_sweep(write_sweep(tmp_path / str(known), members_of(), logs(known)))
        assert averaged(choose(study, sweep)) == words


def test_one_value_has_no_border(tmp_path: Path) -> None:
    study = study_of(tmp_path, tune={"grid": {"algorithm.alpha": [0.3]}})
    sweep = read_sweep(write_sweep(tmp_path / "tuned", members_of([0.3]), tuned_logs))
    assert [choice.at_border for choice in choose(study, sweep)] == [frozenset()] * 2


def test_where_all_diverge_it_is_said(tmp_path: Path) -> None:
    def lost(_config: dict[str, Any]) -> dict[str, Any]:
        return evaluated() | {"status": "failed", "stop_reason": "y is not a number"}

    sweep = read_sweep(write_sweep(tmp_path / "tuned", members_of(), lost))
    choice = choose(study_of(tmp_path), sweep)[0]
    assert (choice.value, choice.diverged) == (-math.inf, 3)


def test_a_run_without_the_measure_is_worst(tmp_path: Path) -> None:
    """What would be best at 0.3 for soba cannot be evaluated there."""

    def logs(config: dict[str, Any]) -> dict[str, Any]:
        alpha, lost = config["algorithm"]["alpha"], config["algorithm"]["alpha"] == 0.3
        return evaluated(objective=np.full(11, np.nan if lost else alpha))

    study = study_of(tmp_path, tune={"grid": {"algorithm.alpha": ALPHAS}, "measure": "objective"})
    choices = choose(study, read_sweep(write_sweep(tmp_path / "tuned", members_of(), logs)))
    assert [choice.tuned for choice in choices] == [{"algorithm.alpha": 0.1}] * 2
    assert [(choice.diverged, choice.unmeasured) for choice in choices] == [(0, 1)] * 2


def test_tuning_needs_all_runs(tmp_path: Path) -> None:
    def unfinished(config: dict[str, Any]) -> dict[str, Any] | None:
        return None if config["algorithm"]["alpha"] == 0.3 else tuned_logs(config)

    study = study_of(tmp_path)
    with pytest.raises(SweepError, match="is missing; run the sweep again"):
        choose(study, read_sweep(write_sweep(tmp_path / "a", members_of(), unfinished)))
    silent = write_sweep(tmp_path / "b", members_of(), lambda _: evaluated())
    with pytest.raises(SweepError, match="no run has test_accuracy"):
        choose(study, read_sweep(silent))
