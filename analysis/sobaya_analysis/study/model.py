"""Read a study and spell out its runs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..configs import lookup
from ..errors import StudyError, UsageError

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
_KEYS = {"base", "title", "seeds", "reference", "methods"}
_METHOD_KEYS = {"name", "label"}


@dataclass(frozen=True)
class Method:
    """One line of the comparison: what it changes in the base config."""

    name: str
    """Part of the names of its runs."""
    label: str
    """What tables and figures call it."""
    settings: Mapping[str, Any]
    """Dotted keys of the config and their values."""


@dataclass(frozen=True)
class Study:
    """Methods on one base config, each run once a seed, all compared with one of them."""

    name: str
    """Stem of its file."""
    path: Path
    title: str
    text: str
    """A paragraph of its page; may be empty."""
    base: str
    """Path of the base config from the top folder of the project."""
    seeds: tuple[int, ...]
    reference: str
    settings: Mapping[str, Any]
    """What all methods change in the base config; a method's own settings come after them."""
    methods: tuple[Method, ...]

    def selected(self, seeds: Sequence[int], methods: Sequence[str]) -> Study:
        """The same study with these seeds and methods only; all of them where none is named."""
        known = [method.name for method in self.methods]
        for name in methods:
            if name not in known:
                raise UsageError(f"{self.path}: no method {name}; there are {', '.join(known)}")
        kept = [method for method in self.methods if not methods or method.name in methods]
        return replace(self, seeds=tuple(seeds) or self.seeds, methods=tuple(kept))


@dataclass(frozen=True)
class PlannedRun:
    """One run of a study."""

    method: Method
    seed: int
    name: str
    """Name of the run, METHOD-sSEED, which is that of its folder."""
    settings: Mapping[str, Any]
    """Everything that it changes in the base config, in this order."""


def read_study(path: Path) -> Study:
    """Read a file of configs/studies; raise a `StudyError` that says what is wrong with it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_object)
    except OSError as error:
        raise StudyError(path, error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise StudyError(path, f"no JSON ({error})") from error
    _check_keys(path, "the study", content, _KEYS, {"set", "text"})
    methods: list[Method] = []
    for item in _list(path, "methods", content["methods"]):
        methods.append(_method(path, item, methods))
    seeds = _list(path, "seeds", content["seeds"])
    if any(type(seed) is not int or seed < 0 for seed in seeds):
        raise StudyError(path, "seeds must be whole numbers of 0 or more")
    names = [method.name for method in methods]
    labels = [method.label for method in methods]
    for found, what in ((seeds, "seed"), (names, "name"), (labels, "label")):
        for value, following in pairwise(sorted(found)):
            if value == following:
                raise StudyError(path, f"the {what} {value} stands twice")
    if content["reference"] not in names:
        raise StudyError(path, f"the reference {content['reference']!r} is no name of a method")
    return Study(
        name=path.stem,
        path=path,
        title=_text(path, "title", content["title"]),
        text=_text(path, "text", content["text"]) if "text" in content else "",
        base=_text(path, "base", content["base"]),
        seeds=tuple(seeds),
        reference=content["reference"],
        settings=_settings(path, "the study", content.get("set", {})),
        methods=tuple(methods),
    )


def planned_runs(study: Study, overrides: Mapping[str, Any]) -> list[PlannedRun]:
    """All runs of a study, seed by seed; overrides come last."""
    runs = []
    for seed in study.seeds:
        for method in study.methods:
            name = f"{method.name}-s{seed}"
            own = {"seed": seed, "name": f"{study.name}-{name}"}
            settings = merged(study.settings, method.settings, own, overrides)
            runs.append(PlannedRun(method, seed, name, settings))
    return runs


def merged(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """All settings, those of later parts last: a key that is set again moves to the end."""
    result: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            result.pop(key, None)
            result[key] = value
    return result


def plan_line(study: Study, base: Mapping[str, Any], run: PlannedRun) -> str:
    """Name, base, workers, data set (or -) and KEY=JSON settings of a run, tabs between them."""
    workers, dataset = (
        run.settings.get(key, lookup(base, key)) for key in ("workers", "problem.dataset")
    )
    settings = [
        f"{key}={json.dumps(value, separators=(',', ':'))}" for key, value in run.settings.items()
    ]
    return "\t".join([run.name, study.base, str(workers), dataset or "-", *settings])


def read_base(root: Path, study: Study) -> dict[str, Any]:
    """The base config of a study."""
    path = root / study.base
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyError(study.path, f"base {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise StudyError(study.path, f"base {path} is no JSON ({error})") from error


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
    for key in sorted(set(item) - needed - allowed):
        raise StudyError(path, f"{what} has an unknown key {key}")


def _method(path: Path, item: Any, earlier: Sequence[Method]) -> Method:  # noqa: ANN401
    _check_keys(path, "a method", item, _METHOD_KEYS, {"like", "set"})
    name = item["name"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise StudyError(path, f"{name!r} is no name (lower-case letters, digits and -)")
    label = _text(path, f"label of {name}", item["label"])
    settings = _settings(path, name, item.get("set", {}))
    if "like" in item:
        model = next((method for method in earlier if method.name == item["like"]), None)
        if model is None:
            raise StudyError(path, f"{name} is like {item['like']!r}, which is no earlier method")
        settings = merged(model.settings, settings)
    return Method(name, label, settings)


def _settings(path: Path, what: str, item: Any) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(item, dict):
        raise StudyError(path, f"set of {what} must be an object of dotted keys")
    for key in item:
        if key in ("seed", "name") or not re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)*", key):
            raise StudyError(path, f"set of {what} cannot hold the key {key!r}")
    return item


def _text(path: Path, what: str, value: Any) -> str:  # noqa: ANN401
    if not isinstance(value, str) or not value.isprintable() or not value.strip():
        raise StudyError(path, f"{what} must be one line of text")
    return value


def _list(path: Path, what: str, value: Any) -> list[Any]:  # noqa: ANN401
    if not isinstance(value, list) or not value:
        raise StudyError(path, f"{what} must be a list that is not empty")
    return value
