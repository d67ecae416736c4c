"""Synthetic logs after the schema of log.h5, written with h5py."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

MakeLog = Callable[..., Path]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).parents[2] / "target"))
PROGRAM = TARGET / "release" / "sobaya"
needs_program = pytest.mark.skipif(
    not PROGRAM.exists() and "SOBAYA_PYTHON" not in os.environ,
    reason="cargo build --release makes the program; jobs/test.sh fails without it",
)


def config_of(kind: str = "soba", seed: int = 1, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """Small config of one run; keyword arguments replace or add top-level keys."""
    base = {
        "name": f"demo-{kind}-s{seed}",
        "seed": seed,
        "precision": "f32",
        "workers": 4,
        "problem": {"kind": "hyper-representation", "dataset": "mnist-small", "hidden": [20]},
        "algorithm": {"kind": kind, "alpha": 0.02},
    }
    return base | more


def columns_of(n_rows: int, eval_every: int, upload: int = 1000) -> dict[str, np.ndarray]:
    """Columns of a run of n_rows - 1 iterations with easily predicted values."""
    iteration = np.arange(n_rows)
    evals = np.arange(0, n_rows, eval_every)
    loss = 2.0 - iteration / max(n_rows, 1)
    loss[:1] = np.nan
    return {
        "iteration": iteration,
        "upper_loss": loss,
        "lower_loss": loss,
        "wall_time": 0.5 * iteration,
        "part": np.zeros(n_rows, dtype=np.int32),
        "upload_bytes": upload * iteration,
        "download_bytes": 2 * upload * iteration,
        "upload_bits_per_worker": 2 * upload * iteration,
        "eval_iteration": evals,
        "test_accuracy": 0.5 + 0.01 * np.arange(len(evals)),
        "hypergradient_norm": 10.0 ** -np.arange(len(evals)),
        "test_loss": np.full(len(evals), np.nan),
        "validation_loss": np.full(len(evals), np.nan),
    }


def write_log(
    path: Path,
    config: dict[str, Any] | str | None = None,
    n_rows: int = 11,
    eval_every: int = 2,
    upload: int = 1000,
    replace: dict[str, Any] | None = None,
    attributes: dict[str, Any] | None = None,
) -> Path:
    """Write a log; `replace` and `attributes` take the place of columns and attributes of the root.

    None as a value leaves that column or attribute out.
    """
    config = config_of() if config is None else config
    path.parent.mkdir(parents=True)
    known = config if isinstance(config, dict) else {}
    root = {
        "Conventions": "CF-1.11",
        "schema_version": np.array([1, 1], dtype=np.int32),
        "config_json": config if isinstance(config, str) else json.dumps(config),
        "config_sha256": "00ff",
        "provenance_json": "{}",
        "parts_json": "[{}]",
        "program_version": "0.1.0",
        "git_commit": "abcdef0",
        "seed": np.int64(known.get("seed", 1)),
        "n_workers": np.int32(4),
        "n_ranks": np.int32(2),
        "status": "completed",
        "stop_reason": "",
    }
    columns = columns_of(n_rows, eval_every, upload) | (replace or {})
    with h5py.File(path, "w") as file:
        for name, value in (root | (attributes or {})).items():
            if value is not None:
                file.attrs[name] = value
        for name, column in columns.items():
            if column is not None:
                file.create_dataset(name, data=column, maxshape=(None,), chunks=True)
    return path


@pytest.fixture
def make_log(tmp_path: Path) -> MakeLog:
    """Return a function that writes folder/log.h5 below the test's own folder."""

    def make(folder: str, *arguments: Any, **options: Any) -> Path:  # noqa: ANN401
        return write_log(tmp_path / folder / "log.h5", *arguments, **options)

    return make
