"""Made-up studies of two methods, and the logs of their tuning."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sobaya_analysis.study.model import Study, read_study

from .sweeps import BASE, evaluated

ALPHAS = [0.1, 0.3, 1.0]
EF = {"algorithm.kind": "ef-soba", "compressor": {"kind": "rand-k", "ratio": 0.1}}


def content(**more: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "title": "Two methods",
        "base": "base.json",
        "set": {"iterations": 100},
        "list": [{"algorithm.kind": "soba"}, {"label": "with feedback", **EF}],
        "tune": {"set": {"seed": 7}, "grid": {"algorithm.alpha": ALPHAS}},
        "final": {"grid": {"seed": [1, 2, 3]}},
        "report": {"target": 0.7},
    } | more


def write(tmp_path: Path, written: object) -> Path:
    tmp_path.mkdir(exist_ok=True)
    path = tmp_path / "two.json"
    path.write_text(written if isinstance(written, str) else json.dumps(written))
    (tmp_path / "base.json").write_text(json.dumps(BASE))
    return path


def study_of(tmp_path: Path, **more: Any) -> Study:  # noqa: ANN401
    return read_study(write(tmp_path, content(**more)))


def members_of(alphas: list[float] = ALPHAS) -> list[dict[str, Any]]:
    methods = [{"algorithm.kind": "soba"}, EF]
    return [{**m, "algorithm.alpha": a, "seed": 7} for m in methods for a in alphas]


def tuned_logs(config: Mapping[str, Any]) -> dict[str, Any]:
    """The best of soba is 0.3; ef-soba would be at 1, where it diverges, and is 0.1 by a hair.

    At 1 the accuracy of soba is the highest in the end, but not over the last five evaluations.
    """
    kind, alpha = config["algorithm"]["kind"], config["algorithm"]["alpha"]
    level = {"soba": {0.1: 0.7, 0.3: 0.8, 1.0: 0.75}, "ef-soba": {0.1: 0.71, 0.3: 0.7, 1.0: 0.9}}
    accuracy = np.full(11, level[kind][alpha])
    if (kind, alpha) == ("soba", 1.0):
        accuracy[-1] = 0.9
    loss = 1 - accuracy
    columns = evaluated(test_accuracy=accuracy, objective=loss, hypergradient_norm=loss)
    if (kind, alpha) == ("ef-soba", 1.0):
        columns |= {"status": "failed", "stop_reason": "x: an entry is not a number"}
    return columns
