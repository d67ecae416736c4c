"""Made-up sweeps: folders as `sobaya sweep` leaves them, with logs of easily predicted values."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .conftest import write_log

Columns = dict[str, Any]
Behaviour = Callable[[dict[str, Any]], Columns | None]
"""Columns that replace the plain ones of a config's log (with "status" and "stop_reason" among
them, if the run is not to be completed); None for a run that has not begun."""

BASE = {
    "name": "base",
    "seed": 0,
    "precision": "f32",
    "workers": 4,
    "iterations": 100,
    "problem": {"kind": "hyper-representation", "dataset": "mnist-small"},
    "partition": {"kind": "iid"},
    "algorithm": {"kind": "soba", "alpha": 0.1},
}
EVALUATIONS = np.arange(0, 101, 10)
SECONDS = {"compute": 0.2, "compress": 0.02, "communicate": 0.03, "wait": 0.05, "server": 0.01}


def config_with(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The base config with dotted keys set."""
    config: dict[str, Any] = copy.deepcopy(BASE)
    for key, value in settings.items():
        *path, last = key.split(".")
        place = config
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return config


def hash_of(config: Mapping[str, Any]) -> str:
    """12 hexadecimal digits."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]


def evaluated(**columns: Any) -> Columns:  # noqa: ANN401
    """Evaluation columns of a run of 100 iterations, evaluated every ten; others are NaN."""
    nothing = np.full(len(EVALUATIONS), np.nan)
    given = {
        name: np.broadcast_to(np.asarray(values, dtype=float), nothing.shape)
        for name, values in columns.items()
    }
    return {"test_accuracy": nothing, "hypergradient_norm": nothing} | given


def uploaded(total: int) -> Columns:
    """Byte columns of 4 workers that upload `total` bytes each over 100 iterations."""
    each = total * np.arange(101) // 100
    return {"upload_bytes": 4 * each, "upload_bits_per_worker": 8 * each}


def write_sweep(
    folder: Path, members: Iterable[Mapping[str, Any]], behaviour: Behaviour, name: str = "demo"
) -> Path:
    """Write sweep.json and the folders of all members that have begun."""
    folder.mkdir(parents=True)
    listed = []
    for settings in members:
        config = config_with(settings)
        member = hash_of(config)
        listed.append({"hash": member, "settings": dict(settings), "config": config})
        columns = behaviour(config)
        if columns is None:
            continue
        root = {"status": columns.pop("status", "completed"), "n_workers": config["workers"]}
        root["stop_reason"] = columns.pop("stop_reason", "")
        seconds = columns.pop("seconds", SECONDS)
        own = folder / member
        write_log(own / "log.h5", config, 101, 10, replace=columns, attributes=root)
        (own / "config.json").write_text(json.dumps(config))
        (own / "summary.json").write_text(json.dumps({"seconds": seconds}))
    (folder / "sweep.json").write_text(json.dumps({"name": name, "members": listed}))
    return folder
