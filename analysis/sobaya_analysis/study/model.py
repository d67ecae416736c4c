"""Read a study: what docs/studies.md describes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import StudyError
from ..summary import LAST_EVALUATIONS
from .entries import Entry, axis_keys, read_entries
from .options import check_options

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
_KEYS = {"title", "text", "base", "set", "list", "grid", "ranks", "tune", "final", "report"}
_TUNE_KEYS = {"set", "grid", "measure", "tail"}
_FINAL_KEYS = {"set", "grid"}
REPORT_KEYS = ("measure", "target", "x", "rows", "columns", "step", "margin")
"""Options of `sobaya-report sweep` that a study may give."""
_SCALE = "recovered"
"""The key of the report beside those: what methods are measured between."""
_SCALE_KEYS = ("from", "to")

LOSSES = ("objective", "validation_loss", "hypergradient_norm")
ACCURACIES = ("test_accuracy", "solution_accuracy")
MEASURES = (*ACCURACIES, *LOSSES)
"""Columns of the log by which step sizes may be chosen; losses are better if lower."""
DEFAULT_MEASURES = ("validation_loss", "test_accuracy")
"""The first of them that the runs have is taken where a study names none."""


@dataclass(frozen=True)
class Stage:
    """What one of a study's sweeps sets besides what both have."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, list[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Tuning(Stage):
    """The sweep in which the axes of its grid are tuned, for each method on its own."""

    measure: str | None = None
    """None for the first of `DEFAULT_MEASURES` that there is."""
    tail: int = LAST_EVALUATIONS
    """The mean of so many last evaluations counts; of a norm the last one alone."""


@dataclass(frozen=True)
class Study:
    """Methods (list and grid over a base config), how they are tuned, and what is then run."""

    name: str
    """Stem of its file."""
    path: Path
    title: str
    text: str
    """Paragraphs of its page, with an empty line between two; may be empty."""
    base_name: str
    """Path of the base config from the file; empty if the file holds it."""
    base: Mapping[str, Any]
    settings: Mapping[str, Any]
    entries: tuple[Entry, ...]
    grid: Mapping[str, list[Any]]
    ranks: int
    tuning: Tuning | None
    final: Stage
    report: tuple[str, ...]
    """Options of the report, as its command line takes them."""
    scale: tuple[str, str] | None = None
    """Labels of the entries that are no methods, but what methods are measured between."""


def read_study(path: Path) -> Study:
    """Read a study and its base config; raise a `StudyError` that says what is wrong with it."""
    if not _NAME.fullmatch(path.stem):
        raise StudyError(path, "the name may have lower-case letters, digits and - alone")
    content = _read(path, path)
    _check_keys(path, "the study", content, {"title", "base", "final"}, _KEYS)
    base = content["base"]
    within = isinstance(base, dict)
    name = "" if within else _text(path, "base", base)
    final = content["final"]
    _check_keys(path, "final", final, set(), _FINAL_KEYS)
    entries = read_entries(path, content.get("list", [{}]))
    study = Study(
        name=path.stem,
        path=path,
        title=_text(path, "title", content["title"]),
        text=_paragraphs(path, content.get("text", "")),
        base_name=name,
        base=base if within else _read(path, path.parent / name),
        settings=_settings(path, "set", content.get("set", {})),
        entries=entries,
        grid=_grid(path, "grid", content.get("grid", {})),
        ranks=_count(path, "ranks", content.get("ranks", 1)),
        tuning=_tuning(path, content["tune"]) if "tune" in content else None,
        final=Stage(
            _settings(path, "final.set", final.get("set", {})),
            _grid(path, "final.grid", final.get("grid", {})),
        ),
        report=_report(path, content.get("report", {})),
        scale=_scale(path, content.get("report", {}), [entry.label for entry in entries]),
    )
    _check_tuned(study)
    keys = {key for entry in entries for key in entry.settings}
    keys |= axis_keys(study.grid) | axis_keys(study.final.grid)
    check_options(path, study.report, study.name, keys)
    return study


def _tuning(path: Path, item: Any) -> Tuning:  # noqa: ANN401
    _check_keys(path, "tune", item, {"grid"}, _TUNE_KEYS)
    measure = item.get("measure")
    if "measure" in item and measure not in MEASURES:
        raise StudyError(path, f"tune.measure: {measure!r} is none of {', '.join(MEASURES)}")
    return Tuning(
        settings=_settings(path, "tune.set", item.get("set", {})),
        grid=_grid(path, "tune.grid", item["grid"]),
        measure=measure,
        tail=_count(path, "tune.tail", item.get("tail", LAST_EVALUATIONS)),
    )


def _check_tuned(study: Study) -> None:
    """A method is what is not tuned, so that no key may be both."""
    if study.tuning is None:
        return
    own = {key for entry in study.entries for key in entry.settings} | axis_keys(study.grid)
    for key in sorted(axis_keys(study.tuning.grid)):
        if key == "seed":
            raise StudyError(study.path, "tune.grid: tuning takes one seed; give it in tune.set")
        if key in own:
            raise StudyError(study.path, f"tune.grid: {key} stands in list or grid, too")
    if "seed" in own:
        raise StudyError(study.path, "seeds belong into final.grid, not into list or grid")


def _read(study: Path, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_object)
    except OSError as error:
        raise StudyError(study, f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise StudyError(study, f"{path} is no JSON ({error})") from error
    if not isinstance(content, dict):
        raise StudyError(study, f"{path} must hold an object")
    return content


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key} stands twice in one object")
        found[key] = value
    return found


def _check_keys(
    path: Path,
    what: str,
    item: Any,  # noqa: ANN401
    needed: set[str],
    allowed: set[str],
) -> None:
    if not isinstance(item, dict):
        raise StudyError(path, f"{what} must be an object")
    for key in sorted(needed - set(item)):
        raise StudyError(path, f"{what} has no key {key}")
    for key in sorted(set(item) - allowed):
        raise StudyError(path, f"{what} has an unknown key {key}")


def _settings(path: Path, what: str, item: Any) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(item, dict):
        raise StudyError(path, f"{what} must be an object of dotted keys")
    return item


def _grid(path: Path, what: str, item: Any) -> dict[str, list[Any]]:  # noqa: ANN401
    for key, values in _settings(path, what, item).items():
        if not isinstance(values, list) or not values:
            raise StudyError(path, f"{what}: {key} must have a list of values that is not empty")
    return item


def _report(path: Path, item: Any) -> tuple[str, ...]:  # noqa: ANN401
    _check_keys(path, "report", item, set(), {*REPORT_KEYS, _SCALE})
    words = []
    for key, value in item.items():
        if key == _SCALE:
            continue
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, bool) or not isinstance(one, (str, int, float)):
                raise StudyError(
                    path, f"report.{key} must be a text or a number, or such in a list"
                )
            words.append(f"--{key}={one}")
    return tuple(words)


def _scale(path: Path, report: Mapping[str, Any], labels: Sequence[str]) -> tuple[str, str] | None:
    if _SCALE not in report:
        return None
    what, item = f"report.{_SCALE}", report[_SCALE]
    _check_keys(path, what, item, set(_SCALE_KEYS), set(_SCALE_KEYS))
    origin, goal = (item[key] for key in _SCALE_KEYS)
    for key, label in zip(_SCALE_KEYS, (origin, goal), strict=True):
        if not label or label not in labels:
            raise StudyError(path, f"{what}.{key}: {label!r} is no label of the list")
    if origin == goal:
        raise StudyError(path, f"{what}: from and to are both {goal!r}")
    return origin, goal


def _text(path: Path, what: str, value: Any) -> str:  # noqa: ANN401
    if not isinstance(value, str) or not value.isprintable() or not value.strip():
        raise StudyError(path, f"{what} must be one line of text")
    return value


def _paragraphs(path: Path, value: Any) -> str:  # noqa: ANN401
    parts = value if isinstance(value, list) else [value]
    if not all(isinstance(part, str) for part in parts):
        raise StudyError(path, "text must be a paragraph, or a list of them")
    return "\n\n".join(part.strip() for part in parts if part.strip())


def _count(path: Path, what: str, value: Any) -> int:  # noqa: ANN401
    if type(value) is not int or value < 1:
        raise StudyError(path, f"{what} must be a whole number of 1 or more")
    return value
