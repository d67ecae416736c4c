"""Read the folder of a sweep: its members, and the runs of those that have any."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..curves import is_shown
from ..errors import EmptyLogError, LogError, SweepError
from ..runs import LOG_NAME, Run, load_run

SWEEP_NAME = "sweep.json"
COMPLETED, DIVERGED, FAILED, STOPPED, RUNNING, MISSING = (
    "completed",
    "diverged",
    "failed",
    "stopped",
    "running",
    "missing",
)
STATES = (COMPLETED, DIVERGED, FAILED, STOPPED, RUNNING, MISSING)
_NUMERICAL = 4
"""Exit code of a run whose numbers have left the finite ones."""
PHASES = ("compute", "compress", "communicate", "wait", "server")
"""Phases of an iteration, as summary.json names them."""


@dataclass(frozen=True, eq=False)
class Member:
    """One config of a sweep and what has become of it."""

    hash: str
    """Name of its folder."""
    settings: Mapping[str, Any]
    """What the sweep sets in its base config: dotted keys; values may be objects."""
    config: Mapping[str, Any]
    state: str
    """One of `STATES`. A run whose numbers left the finite ones has diverged."""
    run: Run | None
    """Its log, as far as it goes; None before the first row."""
    seconds: Mapping[str, float]
    """Seconds by phase, mean over the ranks; empty if the run has not ended."""
    reason: str = ""
    """Why it failed, in the program's words."""

    @property
    def seed(self) -> int | None:
        """Seed of the config."""
        seed = self.config.get("seed", 0)
        return seed if isinstance(seed, int) else None


@dataclass(frozen=True, eq=False)
class Sweep:
    """All members of one sweep, in the order of its file."""

    name: str
    path: Path
    members: tuple[Member, ...]


def read_sweep(folder: Path, skip_bad: bool = False) -> Sweep:
    """Read DIR/sweep.json and DIR/HASH/ of each member; raise a `SweepError` if it cannot be.

    A log that cannot be used raises a `LogError`; with `skip_bad` its run counts as failed.
    """
    path = folder / SWEEP_NAME
    content = _object(path)
    name = content.get("name")
    members = content.get("members")
    if not isinstance(members, list) or not members:
        raise SweepError(path, "members must be a list that is not empty")
    return Sweep(
        name if isinstance(name, str) and name else folder.resolve().name,
        folder,
        tuple(_members(path, members, skip_bad)),
    )


def check_ended(sweep: Sweep, member: Member, remedy: str = "run the sweep again") -> None:
    """Refuse a run that has not completed, unless it diverged, which is a result."""
    if member.state == DIVERGED or (member.state == COMPLETED and member.run is not None):
        return
    why = f" ({member.reason})" if member.reason else ""
    problem = f"run {member.hash} is {member.state}{why}; {remedy}"
    raise SweepError(sweep.path / SWEEP_NAME, problem)


def _members(path: Path, items: list[Any], skip_bad: bool) -> Iterator[Member]:
    seen: set[str] = set()
    for place, item in enumerate(items):
        name = item.get("hash") if isinstance(item, dict) else None
        # The hash becomes part of a path: it must not lead elsewhere.
        if not isinstance(name, str) or not name.isalnum() or name in seen:
            raise SweepError(path, f"members[{place}].hash must be letters and digits, each once")
        seen.add(name)
        parts = {key: item.get(key) for key in ("settings", "config")}
        for key, value in parts.items():
            if not isinstance(value, dict):
                raise SweepError(path, f"members[{place}].{key} must be an object")
        yield _member(path.parent / name, parts["settings"], parts["config"], skip_bad)


def _member(
    folder: Path, settings: dict[str, Any], config: dict[str, Any], skip_bad: bool
) -> Member:
    run, bad = _run(folder / LOG_NAME, skip_bad)
    state = FAILED if bad else state_of(run)
    reason = run.stop_reason if run else ""
    failure = _if_written(folder / "failure.json")
    if failure and state in (MISSING, RUNNING, STOPPED, FAILED):
        state = DIVERGED if failure.get("code") == _NUMERICAL else FAILED
        reason = str(failure.get("stderr", ""))
    return Member(folder.name, settings, config, state, run, _seconds(folder), reason)


def _run(log: Path, skip_bad: bool) -> tuple[Run | None, bool]:
    """The run of a log, None before its first row, and whether the log cannot be used."""
    try:
        return (load_run(log), False) if log.is_file() else (None, False)
    except EmptyLogError:
        return None, False
    except LogError:
        if not skip_bad:
            raise
        return None, True


def _seconds(folder: Path) -> dict[str, float]:
    """Seconds by phase from summary.json; empty before it is written."""
    seconds = _if_written(folder / "summary.json").get("seconds")
    return {
        phase: float(value)
        for phase, value in (seconds.items() if isinstance(seconds, dict) else ())
        if phase in PHASES and isinstance(value, (int, float))
    }


def state_of(run: Run | None) -> str:
    """What has become of a run, by its log."""
    if run is None:
        return MISSING
    if run.status == "failed":
        words = ("not a number", "not finite")
        numerical = any(word in run.stop_reason for word in words) or _left_the_finite(run)
        return DIVERGED if numerical else FAILED
    if run.status == "completed":
        return DIVERGED if _left_the_finite(run) else COMPLETED
    return STOPPED if run.status == "stopped" else RUNNING


def _left_the_finite(run: Run) -> bool:
    """Whether the last norm is infinite or as good as that, or the last loss is, or no number."""
    norm = run.hypergradient_norm[~np.isnan(run.hypergradient_norm)]
    known = is_shown(run.upper_loss)
    lost = len(known) > 1 and bool(known.any()) and not known[-1]
    return lost or (len(norm) > 0 and not is_shown(norm[-1:]).any())


def _object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise SweepError(path, f"{reason}; give the folder of a sweep") from error
    except (ValueError, RecursionError) as error:
        raise SweepError(path, f"no JSON ({error})") from error
    if not isinstance(content, dict):
        raise SweepError(path, "must be an object")
    return content


def _if_written(path: Path) -> dict[str, Any]:
    """A file of a member's folder, empty if it has not been written (or not all of it)."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
