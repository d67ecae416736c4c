"""Reading sweeps, and sorting their members by what they vary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sobaya_analysis.errors import SweepError
from sobaya_analysis.runs import load_run
from sobaya_analysis.sweep.experiment import (
    experiment,
    merged_steps,
    panels,
    reference,
)
from sobaya_analysis.sweep.labels import features
from sobaya_analysis.sweep.model import read_sweep

from .conftest import MakeLog
from .sweeps import config_with, evaluated, hash_of, write_sweep

RAND_K = {"kind": "rand-k", "ratio": 0.1}
IDENTITY = {"kind": "identity"}


def grid(**axes: list[Any]) -> list[dict[str, Any]]:
    """All settings of a grid; __ stands for the dot of a key."""
    found: list[dict[str, Any]] = [{}]
    for key, values in axes.items():
        found = [{**one, key.replace("__", "."): value} for one in found for value in values]
    return found


def plain(_config: dict[str, Any]) -> dict[str, Any]:
    return evaluated(test_accuracy=0.9)


def test_states_of_members(tmp_path: Path) -> None:
    def behaviour(config: dict[str, Any]) -> dict[str, Any] | None:
        lost = "x at iteration 60: an entry is infinite or not a number"
        return [
            evaluated(test_accuracy=0.9),
            evaluated(test_accuracy=0.9) | {"status": "failed", "stop_reason": lost},
            evaluated(test_accuracy=0.9) | {"status": "failed", "stop_reason": "disk full"},
            evaluated(test_accuracy=0.9) | {"status": "running"},
            None,
            evaluated(hypergradient_norm=np.inf),
            evaluated(test_accuracy=0.9) | {"status": "stopped", "stop_reason": "signal 15"},
        ][config["seed"]]

    sweep = read_sweep(write_sweep(tmp_path / "s", grid(seed=list(range(7))), behaviour))
    states = [member.state for member in sweep.members]
    ended = ["completed", "diverged", "failed", "running", "missing", "diverged", "stopped"]
    assert states == ended
    assert sweep.members[6].reason == "signal 15"
    assert [member.run is None for member in sweep.members] == [False] * 4 + [True, False, False]
    assert sweep.members[0].seconds["compute"] == 0.2
    (cell,) = experiment(sweep).cells
    assert len(cell.members) == 7
    assert len(cell.completed) == 1


def test_members_whose_last_attempt_failed(tmp_path: Path) -> None:
    running = evaluated(test_accuracy=0.9) | {"status": "running"}
    folder = write_sweep(
        tmp_path / "s",
        grid(seed=[1, 2]),
        lambda config: {**running} if config["seed"] == 2 else None,
    )
    for seed, code in ((1, 3), (2, 4)):
        own = folder / hash_of(config_with({"seed": seed}))
        own.mkdir(exist_ok=True)
        (own / "failure.json").write_text(json.dumps({"code": code, "stderr": "no data set"}))
    members = read_sweep(folder).members
    assert [member.state for member in members] == ["failed", "diverged"]
    assert members[0].reason == "no data set"


def test_a_log_that_cannot_be_used(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "s", grid(seed=[1, 2]), plain)
    (folder / hash_of(config_with({"seed": 1})) / "log.h5").write_text("no log")
    with pytest.raises(Exception, match="not an HDF5 file"):
        read_sweep(folder)
    assert [m.state for m in read_sweep(folder, skip_bad=True).members] == ["failed", "completed"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "no JSON"),
        ("[]", "must be an object"),
        ('{"members": []}', "not empty"),
        ('{"members": [{"hash": "../..", "settings": {}, "config": {}}]}', "letters and digits"),
        ('{"members": [{"hash": "aa", "settings": 1, "config": {}}]}', "settings must be"),
        (None, "give the folder of a sweep"),
    ],
)
def test_what_is_no_sweep(tmp_path: Path, content: str | None, text: str) -> None:
    if content is not None:
        (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(SweepError, match=text):
        read_sweep(tmp_path)


def test_newer_evaluations_are_read_and_older_logs_have_none(make_log: MakeLog) -> None:
    old = load_run(make_log("old"))
    assert np.isnan(old.lower_distance).all()
    new = load_run(make_log("new", replace={"weight_auc": [0.5, 0.9], "lower_distance": range(6)}))
    assert new.lower_distance.tolist() == [0, 1, 2, 3, 4, 5]
    assert new.weight_auc[:2].tolist() == [0.5, 0.9]
    assert np.isnan(new.weight_auc[2:]).all(), "a column that is behind the others"


@pytest.mark.parametrize(
    ("compressor", "kind", "ratio", "variables"),
    [
        (RAND_K, "rand-k", 0.1, "x, y, z"),
        ({"x": RAND_K, "y": RAND_K, "z": RAND_K}, "rand-k", 0.1, "x, y, z"),
        ({"x": RAND_K, "y": IDENTITY, "z": IDENTITY}, "rand-k", 0.1, "x"),
        (IDENTITY, "identity", None, "none"),
        (None, None, None, None),
    ],
)
def test_compressor_features(
    compressor: dict | None, kind: str | None, ratio: float | None, variables: str | None
) -> None:
    flat = features(config_with({"compressor": compressor}))
    found = [flat.get(f"compressor.{key}") for key in ("kind", "ratio", "variables")]
    assert found == [kind, ratio, variables]
    assert "compressor.x.ratio" not in flat


def test_axes_are_what_varies_within_an_algorithm(tmp_path: Path) -> None:
    whole = [{"kind": "soba", "alpha": 0.1}, {"kind": "cm-soba", "alpha": 0.2, "theta": 0.5}]
    members = grid(algorithm=whole, workers=[1, 2], seed=[1, 2])
    found = experiment(read_sweep(write_sweep(tmp_path / "s", members, plain)))
    assert found.axes == ("workers",), "alpha and theta go with the algorithm"
    labels = ["soba, workers 1", "soba, workers 2", "cm-soba, workers 1", "cm-soba, workers 2"]
    assert [cell.label for cell in found.cells] == labels
    assert [len(cell.members) for cell in found.cells] == [2] * 4


def test_reference_shares_all_but_the_method(tmp_path: Path) -> None:
    members = [
        {**method, "workers": n, "seed": 1}
        for method in (
            {"algorithm.kind": "soba"},
            {"algorithm.kind": "c-soba", "compressor": RAND_K},
            {"algorithm.kind": "c-soba", "compressor": {**RAND_K, "ratio": 0.5}},
        )
        for n in (1, 2)
    ]
    cells = experiment(read_sweep(write_sweep(tmp_path / "s", members, plain))).cells
    for cell in cells:
        base = reference(cell, cells)
        assert base is not None
        assert base.kind == "soba"
        assert base.settings["workers"] == cell.settings["workers"]


def test_best_step_size_of_each_method(tmp_path: Path) -> None:
    members = grid(algorithm__kind=["soba", "ma-soba"], algorithm__alpha=[0.1, 0.2, 0.3])
    found = experiment(read_sweep(write_sweep(tmp_path / "s", members, plain)))
    assert found.step_axes == ("algorithm.alpha",)
    goal = {"soba": 0.2, "ma-soba": 0.3}
    best = merged_steps(
        found.cells,
        found.step_axes,
        lambda cell: -abs(cell.settings["algorithm.alpha"] - goal[cell.kind]),
    )
    assert [(cell.label, cell.settings["algorithm.alpha"]) for cell in best] == [
        ("soba", 0.2),
        ("ma-soba", 0.3),
    ]


def test_panels_have_one_line_per_algorithm(tmp_path: Path) -> None:
    ratios = [{"kind": "rand-k", "ratio": r} for r in (0.1, 0.01, 0.5, 1.0)]
    members = grid(algorithm__kind=["soba"]) + grid(
        algorithm__kind=["c-soba", "ef-soba"], compressor=ratios
    )
    found = experiment(read_sweep(write_sweep(tmp_path / "s", members, plain)))
    split = panels(found.cells, found.axes)
    assert [panel.title for panel in split] == [
        "ratio 1 %",
        "ratio 10 %",
        "ratio 50 %",
        "ratio 100 %",
    ]
    for panel in split:
        assert [cell.kind for cell in panel.cells] == ["soba", "c-soba", "ef-soba"]
    few = [cell for cell in found.cells if cell.settings["compressor.ratio"] in (None, 0.1, 0.5)]
    assert [len(panel.cells) for panel in panels(few, found.axes)] == [5], "few lines: one panel"


def test_settings_without_config_changes_nothing(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "s", grid(seed=[1]), plain, name="named")
    content = json.loads((folder / "sweep.json").read_text())
    assert content["members"][0]["settings"] == {"seed": 1}
    found = experiment(read_sweep(folder))
    assert found.sweep.name == "named"
    assert found.axes == ()
    assert [cell.label for cell in found.cells] == ["soba"]


def test_comparable_methods_share_a_panel(tmp_path: Path) -> None:
    """The memory of ef-soba is its own; what goes with a kind is not said."""
    rand_k = [{"kind": "rand-k", "ratio": r, "sampler": "uniform"} for r in (0.01, 0.1)]
    top_k = [{"kind": "top-k", "ratio": r, "bits": 4} for r in (0.01, 0.1)]
    members = (
        grid(algorithm__kind=["soba"])
        + grid(algorithm__kind=["c-soba"], compressor=rand_k, feedback__kind=["none"])
        + grid(algorithm__kind=["c-soba"], compressor=top_k, feedback__kind=["residual"])
        + grid(algorithm__kind=["ef-soba"], compressor=rand_k, feedback__kind=["memory"])
    )
    found = experiment(read_sweep(write_sweep(tmp_path / "s", members, plain)))
    assert [cell.label for cell in found.cells] == [
        "soba",
        "c-soba, rand-k 1 %",
        "c-soba, rand-k 10 %",
        "c-soba, top-k 1 %, residual",
        "c-soba, top-k 10 %, residual",
        "ef-soba, rand-k 1 %",
        "ef-soba, rand-k 10 %",
    ]
    split = {
        panel.title: [c.kind for c in panel.cells] for panel in panels(found.cells, found.axes)
    }
    assert split == {
        "rand-k 1 %": ["soba", "c-soba", "ef-soba"],
        "rand-k 10 %": ["soba", "c-soba", "ef-soba"],
        "top-k 1 %, residual": ["soba", "c-soba"],
        "top-k 10 %, residual": ["soba", "c-soba"],
    }


def test_what_is_not_there_is_said_where_it_tells(tmp_path: Path) -> None:
    members = grid(algorithm__kind=["c-soba"], feedback__kind=["none", "residual"])
    found = experiment(read_sweep(write_sweep(tmp_path / "s", members, plain)))
    assert [cell.label for cell in found.cells] == ["c-soba", "c-soba, residual"]
    titles = [panel.title for panel in panels(found.cells, found.axes, most_lines=0)]
    assert titles == ["no feedback", "residual"], "a title is not empty"
