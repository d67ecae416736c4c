"""Weights of samples, and what methods recover between two bounds."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sobaya_analysis.errors import StudyError
from sobaya_analysis.study.__main__ import main
from sobaya_analysis.study.model import read_study
from sobaya_analysis.sweep import recovered, weights
from sobaya_analysis.sweep.experiment import Experiment, experiment
from sobaya_analysis.sweep.model import read_sweep
from sobaya_analysis.sweep.numbers import AREAS, MEASURES, final_band
from sobaya_analysis.sweep.part import Choices

from .sweeps import BASE, EVALUATIONS, evaluated, uploaded, write_sweep
from .test_sweep_model import grid

SOLUTION = MEASURES[1]
SCALE = ("no weights", "clean labels")
LIST = [
    {"label": "learnt", "algorithm.kind": "soba"},
    {"label": "lost", "algorithm.kind": "ef-soba"},
    {"label": SCALE[0], "algorithm.kind": "soba", "problem.start": 40},
    {"label": SCALE[1], "algorithm.kind": "soba", "problem.start": 40, "problem.corruption": 0},
]
SEEDS = [1, 2, 3]


def cleaning(config: dict[str, Any]) -> dict[str, Any]:
    """At seed s the bounds are 0.8 and 0.8 + s / 100, of which s - 1 in 3 parts are recovered."""
    problem, seed = config["problem"], config["seed"]
    full = seed / 100
    if "start" not in problem:
        if config["algorithm"]["kind"] == "ef-soba" and seed == 1:
            return evaluated() | {"status": "failed", "stop_reason": "x is not a number"}
        level, auc = 0.8 + full * (seed - 1) / 3, 0.9 + full
    else:
        level, auc = (0.8 + full, math.nan) if "corruption" in problem else (0.8, 0.5)
    end = np.where(EVALUATIONS == 100, level, np.nan)
    columns = evaluated(test_accuracy=0.7, solution_accuracy=end, weight_auc=auc)
    columns |= {"solution_loss_auc": columns["weight_auc"] + 0.01}
    return columns | uploaded(3_000 if config["algorithm"]["kind"] == "ef-soba" else 10_000)


def members() -> list[dict[str, Any]]:
    entries = [{key: v for key, v in one.items() if key != "label"} for one in LIST]
    return [{**entry, "seed": seed} for entry in entries for seed in SEEDS]


def cleaned(tmp_path: Path) -> Experiment:
    sweep = read_sweep(write_sweep(tmp_path / "final", members(), cleaning))
    names = [one["label"] for one in LIST for _ in SEEDS]
    by_hash = {m.hash: name for m, name in zip(sweep.members, names, strict=True)}
    return experiment(sweep, by_hash, scale=SCALE)


def test_shares_are_paired_by_seed(tmp_path: Path) -> None:
    found = cleaned(tmp_path)
    assert [cell.name for cell in found.cells] == ["learnt", "lost"]
    assert [cell.name for cell in found.bounds] == list(SCALE)
    learnt, lost = (recovered.recovered(cell, found, SOLUTION) for cell in found.cells)
    assert learnt is not None
    assert lost is not None
    # 0, 1/3 and 2/3.
    assert (learnt.median, learnt.n) == (pytest.approx(1 / 3), 3)
    assert (learnt.low, learnt.high) == (pytest.approx(0.4 / 3), pytest.approx(1.6 / 3))
    assert (lost.median, lost.low) == (pytest.approx(1 / 3), -math.inf)
    (part,) = recovered.parts(found, SOLUTION, Choices())
    assert part.table is not None
    assert part.table.rows[0][2:] == ["33.3 [13.3, 53.3]", "3 of 3"]
    assert part.table.rows[1][2:] == ["33.3 [diverged, 53.3]", "3 of 3"]
    assert part.table.rows[3] == [
        "clean labels",
        "82.00 [81.40, 82.60]",
        "\N{EN DASH}",
        "\N{EN DASH}",
    ]


def test_without_bounds_nothing_is_recovered(tmp_path: Path) -> None:
    sweep = read_sweep(write_sweep(tmp_path / "s", grid(seed=SEEDS), cleaning))
    assert recovered.parts(experiment(sweep), SOLUTION, Choices()) == []
    names = {member.hash: SCALE[0] for member in sweep.members}
    alone = experiment(sweep, names, scale=SCALE)
    assert (len(alone.cells), alone.bounds) == (1, ()), "there is nothing to compare"


def test_weights_of_samples(tmp_path: Path) -> None:
    found = cleaned(tmp_path)
    (part,) = weights.parts(found, SOLUTION, Choices())
    assert part.table is not None
    rows = {row[0]: row[1:] for row in part.table.rows}
    assert rows["learnt"][:3] == ["0.920 [0.914, 0.926]", "0.930 [0.924, 0.936]", "70.00"]
    assert rows["no weights"] == ["0.500", "0.510", "\N{EN DASH}", "80.00"]
    assert rows["clean labels"][:2] == ["\N{EN DASH}"] * 2, "nothing is corrupted"
    (part,) = weights.parts(found, MEASURES[0], Choices())
    assert part.table is not None
    assert part.table.rows[2][3:] == ["70.00", "\N{EN DASH}"], "what runs are judged by"
    lost = final_band(found.cells[1], AREAS[0])
    assert lost is not None
    assert lost.low == -math.inf, "a run that diverged is worst"


def test_other_problems_have_no_weights(tmp_path: Path) -> None:
    behaviour = lambda _: evaluated(test_accuracy=0.9)  # noqa: E731
    sweep = read_sweep(write_sweep(tmp_path / "s", grid(seed=[1]), behaviour))
    assert weights.parts(experiment(sweep), MEASURES[0], Choices()) == []


def study(tmp_path: Path, **more: Any) -> Path:  # noqa: ANN401
    path = tmp_path / "cleaning.json"
    report = {
        "measure": "solution_accuracy",
        "recovered": dict(zip(("from", "to"), SCALE, strict=True)),
    }
    content = {"title": "t", "base": BASE, "list": LIST, "final": {"grid": {"seed": SEEDS}}}
    path.write_text(json.dumps(content | {"report": report | more}))
    return path


def test_bounds_stand_in_no_comparison_of_the_page(tmp_path: Path) -> None:
    path, out = study(tmp_path), tmp_path / "pages"
    write_sweep(tmp_path / "final", members(), cleaning)
    assert (
        main(["report", str(path), str(tmp_path / "final"), "-o", str(out), "--made-by", "m"]) == 0
    )
    text = (out / "cleaning.md").read_text()
    traffic, rest = text.split("## Weights of samples")
    assert "| no weights |" not in traffic
    assert "| learnt | 80.67 [80.27, 81.47] | 33.3 [13.3, 53.3] | 3 of 3 |" in rest
    assert "At equal bytes" not in text, "the solution is evaluated at the end alone"
    assert "Bytes to a target" not in text
    with (out / "cleaning" / "groups.csv").open() as file:
        groups = {row["group"]: row for row in csv.DictReader(file)}
    learnt, bound = groups["learnt"], groups["no weights"]
    assert float(learnt["recovered_solution_accuracy_median"]) == pytest.approx(1 / 3)
    assert float(learnt["final_weight_auc_median"]) == pytest.approx(0.92)
    assert float(bound["final_solution_accuracy_median"]) == pytest.approx(0.8)
    assert not bound["lost_solution_accuracy_median"]
    assert not bound["upload_ratio_to_soba"]
    with (out / "cleaning" / "summary.csv").open() as file:
        runs = list(csv.DictReader(file))
    assert len(runs) == len(members())
    assert float(runs[0]["final_solution_loss_auc"]) == pytest.approx(0.92)


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        ({"from": "no weights"}, "report.recovered has no key to"),
        ({"from": "none", "to": "clean labels"}, "from: 'none' is no label"),
        ({"from": "", "to": "clean labels"}, "from: '' is no label"),
        ({"from": ["no weights"], "to": "clean labels"}, "is no label of the list"),
        ({"from": "learnt", "to": "learnt"}, "from and to are both 'learnt'"),
        ("clean labels", "must be an object"),
    ],
)
def test_bounds_that_cannot_be(tmp_path: Path, item: object, problem: str) -> None:
    with pytest.raises(StudyError, match=problem):
        read_study(study(tmp_path, recovered=item))
