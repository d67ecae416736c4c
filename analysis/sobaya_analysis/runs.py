"""Read log.h5 files. The only module that opens HDF5."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .errors import (
    EmptyLogError,
    InvalidLogError,
    MissingItemError,
    SchemaVersionError,
    UnreadableLogError,
    UsageError,
)

LOG_NAME = "log.h5"
SCHEMA_MAJOR = 1

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_ROW_INTEGERS = ("upload_bytes", "upload_bits_per_worker")
_ROW_FLOATS = ("upper_loss", "wall_time")
_EVALUATION_FLOATS = ("hypergradient_norm", "test_accuracy")
_OPTIONAL_EVALUATIONS = (
    "objective",
    "solution_accuracy",
    "weight_auc",
    "solution_loss_auc",
    "lower_distance",
    "auxiliary_distance",
    "validation_loss",
    "consensus_error_x",
    "consensus_error_y",
    "consensus_error_z",
)
"""Not in every log: only some problems have them, and older programs wrote none."""


@dataclass(frozen=True, eq=False)
class Run:
    """One run as it stands in its log: R rows (state after k steps) and E evaluations."""

    path: Path
    config: dict[str, Any]
    status: str
    stop_reason: str
    seed: int | None
    n_workers: int | None
    n_ranks: int | None
    iteration: Integers
    """Shape (R,), strictly increasing."""
    upper_loss: Floats
    """Shape (R,), mean of the workers' mini-batch losses; NaN where not recorded."""
    wall_time: Floats
    """Shape (R,), seconds since the first start, all parts of a resumed run together."""
    upload_bytes: Integers
    """Shape (R,), bytes, cumulative, all workers."""
    upload_bits_per_worker: Integers
    """Shape (R,), bits, cumulative."""
    eval_iteration: Integers
    """Shape (E,), iteration of each evaluation."""
    test_accuracy: Floats
    """Shape (E,), fraction; NaN where the problem has none."""
    hypergradient_norm: Floats
    """Shape (E,); NaN where not evaluated."""
    objective: Floats
    """Shape (E,), f(x, y*(x)); NaN where not evaluated."""
    solution_accuracy: Floats
    """Shape (E,), fraction: test accuracy at (x, y*(x)); NaN where there is none."""
    weight_auc: Floats
    """Shape (E,): how well the learnt weights tell clean from corrupted samples; NaN if unknown."""
    solution_loss_auc: Floats
    """Shape (E,): the same for the samples' losses at (x, y*(x)); NaN if unknown."""
    lower_distance: Floats
    """Shape (E,), |y - y*(x)|; NaN where not evaluated."""
    auxiliary_distance: Floats
    """Shape (E,), |z - z*(x)|; NaN where not evaluated."""
    validation_loss: Floats
    """Shape (E,), f(x, y) over all upper-level samples; NaN where not evaluated."""
    consensus_error_x: Floats
    """Shape (E,), how far agents without a server are apart in x; NaN with a server."""
    consensus_error_y: Floats
    """Shape (E,), the same in y."""
    consensus_error_z: Floats
    """Shape (E,), the same in z."""
    download_bytes: Integers | None = None
    """Shape (R,), bytes, cumulative, all workers."""
    attributes: dict[str, str] = field(default_factory=dict)
    """For display: program_version, git_commit, config_sha256, cpu; empty where not known."""

    @property
    def name(self) -> str:
        """Name from the config, else that of the folder."""
        name = self.config.get("name")
        return name if isinstance(name, str) and name else self.path.resolve().parent.name


def find_logs(arguments: Iterable[Path]) -> list[Path]:
    """Logs named by files, run folders, or folders of run folders (one level); each log once."""
    found: dict[Path, Path] = {}
    for argument in arguments:
        if not argument.exists():
            raise UsageError(f"{argument}: no such file or folder; give a {LOG_NAME} or its folder")
        if not argument.is_dir():
            logs = [argument]
        elif (argument / LOG_NAME).is_file():
            logs = [argument / LOG_NAME]
        else:
            logs = sorted(log for log in argument.glob(f"*/{LOG_NAME}") if log.is_file())
        if not logs:
            raise UsageError(
                f"{argument}: no {LOG_NAME} in this folder nor one level below; "
                "give the folder of a run or of a sweep"
            )
        for log in logs:
            found.setdefault(log.resolve(), log)
    return list(found.values())


def load_run(path: Path) -> Run:
    """Read one log; raise a `LogError` that says what is wrong with it."""
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            return _read(path, file)
    except PermissionError as error:
        raise UnreadableLogError(path, "permission denied", "check the file's mode") from error
    except (OSError, RuntimeError, MemoryError) as error:
        if path.is_file() and not h5py.is_hdf5(path):
            problem, remedy = "not an HDF5 file", f"give the {LOG_NAME} of a run"
        else:
            reason = " ".join(str(error).split())
            problem = f"damaged HDF5 file ({reason})"
            remedy = "copy it again"
        raise UnreadableLogError(path, problem, remedy) from error


def _read(path: Path, file: h5py.File) -> Run:
    _check_version(path, file)
    config = _config(path, file)
    iteration = _column(path, file, "iteration", np.int64)
    rows = {name: _column(path, file, name, np.int64) for name in _ROW_INTEGERS}
    rows |= {name: _column(path, file, name, np.float64) for name in _ROW_FLOATS}
    if "download_bytes" in file:
        rows["download_bytes"] = _column(path, file, "download_bytes", np.int64)
    eval_iteration = _column(path, file, "eval_iteration", np.int64)
    evaluations = {name: _column(path, file, name, np.float64) for name in _EVALUATION_FLOATS}

    # Columns grow one after the other: only the common length is complete.
    n_rows = min(len(iteration), *(len(column) for column in rows.values()))
    n_evaluations = min(len(eval_iteration), *(len(column) for column in evaluations.values()))
    evaluations |= {
        name: _optional(path, file, name, n_evaluations) for name in _OPTIONAL_EVALUATIONS
    }
    if n_rows == 0:
        raise EmptyLogError(path, "no rows yet", "wait for its first rows or pass --skip-bad")
    iteration = iteration[:n_rows]
    if np.any(np.diff(iteration) <= 0):
        raise InvalidLogError(path, "iteration does not increase", "copy it again")
    rows = {name: column[:n_rows] for name, column in rows.items()}
    rows["wall_time"] = continue_clock(rows["wall_time"])
    seed = _integer(file, "seed")
    if seed is None and isinstance(config.get("seed"), int):
        seed = config["seed"]
    return Run(
        path=path,
        config=config,
        status=_text(file, "status") or "unknown",
        stop_reason=_text(file, "stop_reason"),
        seed=seed,
        n_workers=_integer(file, "n_workers"),
        n_ranks=_integer(file, "n_ranks"),
        iteration=iteration,
        eval_iteration=eval_iteration[:n_evaluations],
        attributes={
            name: _text(file, name) for name in ("program_version", "git_commit", "config_sha256")
        }
        | {"cpu": _cpu(file)},
        **rows,
        **{name: column[:n_evaluations] for name, column in evaluations.items()},
    )


def continue_clock(wall_time: Floats) -> Floats:
    """Wall time, shape (R,) [s], that goes on over restarts whose clock began again at 0."""
    step = np.diff(wall_time, prepend=wall_time[:1])
    restart = step < 0
    if not np.any(restart):
        return wall_time
    return wall_time + np.cumsum(np.where(restart, wall_time - step, 0.0))


def _check_version(path: Path, file: h5py.File) -> None:
    version = np.atleast_1d(_attribute(path, file, "schema_version"))
    if version.dtype.kind not in "iu" or version.size == 0:
        raise InvalidLogError(
            path, "attribute schema_version is no integer", "write the log with sobaya"
        )
    if version[0] != SCHEMA_MAJOR:
        text = ".".join(str(part) for part in version)
        raise SchemaVersionError(
            path,
            f"log schema {text}, this report reads {SCHEMA_MAJOR}.x",
            "use the sobaya_analysis that came with the program that wrote the log",
        )


def _config(path: Path, file: h5py.File) -> dict[str, Any]:
    _attribute(path, file, "config_json")
    try:
        config = json.loads(_text(file, "config_json"))
    except (ValueError, RecursionError) as error:
        raise InvalidLogError(
            path, f"config_json is no JSON ({error})", "write the log with sobaya"
        ) from error
    if not isinstance(config, dict):
        raise InvalidLogError(path, "config_json is no JSON object", "write the log with sobaya")
    return config


def _column(path: Path, file: h5py.File, name: str, kind: type[np.generic]) -> NDArray[Any]:
    item = file.get(name)
    if not isinstance(item, h5py.Dataset):
        raise MissingItemError(
            path, f"dataset {name} is missing", "give the complete log of a sobaya run"
        )
    if item.ndim != 1 or item.dtype.kind not in "iuf":
        raise InvalidLogError(
            path,
            f"dataset {name} is no column of numbers (shape {item.shape}, type {item.dtype})",
            "write the log with sobaya",
        )
    return item[:].astype(kind)


def _optional(path: Path, file: h5py.File, name: str, length: int) -> Floats:
    """Column of shape (length,); NaN where the log has no such column, or a shorter one."""
    values = np.full(length, np.nan)
    if name in file:
        known = _column(path, file, name, np.float64)[:length]
        values[: len(known)] = known
    return values


def _attribute(path: Path, file: h5py.File, name: str) -> Any:  # noqa: ANN401
    if name not in file.attrs:
        raise MissingItemError(
            path, f"attribute {name} is missing", f"give the {LOG_NAME} of a sobaya run"
        )
    return file.attrs[name]


def _text(file: h5py.File, name: str) -> str:
    value = file.attrs.get(name, "")
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""


def _cpu(file: h5py.File) -> str:
    """Processor of the machine that made the log, by its provenance."""
    try:
        found = json.loads(_text(file, "provenance_json"))
    except (ValueError, RecursionError):
        return ""
    cpu = found.get("cpu") if isinstance(found, dict) else None
    return cpu if isinstance(cpu, str) else ""


def _integer(file: h5py.File, name: str) -> int | None:
    value = np.atleast_1d(file.attrs.get(name, ()))
    return int(value[0]) if value.size == 1 and value.dtype.kind in "iu" else None
