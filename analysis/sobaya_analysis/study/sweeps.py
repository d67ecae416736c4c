"""The sweep files of a study: the one in which it is tuned, and the final one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ..configs import lookup
from ..errors import UsageError
from .entries import Entry, axis_keys, without
from .model import Stage, Study

FILES = ("mnist", "fashion-mnist")
"""Data sets in files, whose place the built-in one can take."""
_PARTS = ("train", "validation", "test")
"""With which the keys of a data set begin that are paths."""
_EVALUATIONS = 10
_LENGTH = ("iterations", "evaluate.every", "log.every")
"""Keys that a trial of other length does not take over from entries."""

AnyStage = TypeVar("AnyStage", bound=Stage)


@dataclass(frozen=True)
class Trial:
    """What is made smaller to try a study out; nothing by default."""

    seeds: tuple[int, ...] = ()
    methods: tuple[str, ...] = ()
    """Names of entries."""
    iterations: int | None = None
    dataset: str | None = None
    """Instead of MNIST, where a study uses it."""
    ends_only: bool = False
    """Of each axis the first and the last value."""

    def of(self, study: Study) -> Study:
        """The study made smaller."""
        final, tuning = self._stage(study, study.final), study.tuning
        if self.seeds:
            final = replace(final, grid=final.grid | {"seed": list(self.seeds)})
        return replace(
            study,
            entries=self._entries(study),
            grid=self._ends(study.grid),
            tuning=None if tuning is None else self._stage(study, tuning),
            final=final,
        )

    def _entries(self, study: Study) -> tuple[Entry, ...]:
        known = [entry.name for entry in study.entries if entry.name]
        for name in self.methods:
            if name not in known:
                there = ", ".join(known) or "none with a name"
                raise UsageError(f"{study.path}: no method {name}; there are: {there}")
        kept = [e for e in study.entries if not self.methods or e.name in self.methods]
        if self.iterations is None:
            return tuple(kept)
        return tuple(replace(e, settings=without(e.settings, _LENGTH)) for e in kept)

    def _stage(self, study: Study, stage: AnyStage) -> AnyStage:
        more: dict[str, Any] = {}
        if self.iterations is not None:
            more["iterations"] = self.iterations
            more["evaluate.every"] = max(1, self.iterations // _EVALUATIONS)
        dataset = next(
            (
                part["problem.dataset"]
                for part in (stage.settings, study.settings)
                if "problem.dataset" in part
            ),
            lookup(study.base, "problem.dataset"),
        )
        if self.dataset is not None and dataset in FILES:
            more["problem.dataset"] = self.dataset
        return replace(stage, settings={**stage.settings, **more}, grid=self._ends(stage.grid))

    def _ends(self, grid: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        if not self.ends_only:
            return dict(grid)
        return {
            axis: values if len(values) < 3 or axis == "seed" else [values[0], values[-1]]
            for axis, values in grid.items()
        }


def tuning_sweep(study: Study) -> dict[str, Any] | None:
    """The sweep of every method with every choice of the tuned settings; None without any."""
    if study.tuning is None:
        return None
    entries = [entry.settings for entry in study.entries]
    grid = study.grid | study.tuning.grid
    return _sweep(study, f"{study.name}-tune", study.tuning, entries, grid)


def final_sweep(study: Study, tuned: Sequence[Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """The sweep that is reported; `tuned` has the settings of each method, once they are chosen.

    Without them a study that is tuned has each method with the first choice of all, which is
    enough to check the file. What the final stage sets stands above the rest.
    """
    above = axis_keys(study.final.grid) | set(study.final.settings)
    first: dict[str, list[Any]] = {}
    grid: dict[str, list[Any]] = {}
    if tuned is None:
        tuned = [entry.settings for entry in study.entries]
        if study.tuning is not None:
            first = {axis: values[:1] for axis, values in study.tuning.grid.items()}
        grid = {
            axis: values
            for axis, values in (study.grid | first).items()
            if without(dict.fromkeys(axis_keys([axis])), above)
        }
    entries: list[Mapping[str, Any]] = []
    for settings in tuned:
        entry = without(settings, above)
        if entry not in entries:
            entries.append(entry)
    return _sweep(study, study.name, study.final, entries, grid | study.final.grid)


def _sweep(
    study: Study,
    name: str,
    stage: Stage,
    entries: Sequence[Mapping[str, Any]],
    grid: Mapping[str, list[Any]],
) -> dict[str, Any]:
    return {
        "name": name,
        "base": study.base,
        "set": {**without(study.settings, stage.settings), **stage.settings},
        "list": entries,
        "grid": grid,
        "ranks": study.ranks,
    }


def json_text(content: Mapping[str, Any]) -> str:
    """A sweep file's text."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def data_files(sweep: Mapping[str, Any]) -> set[str]:
    """What a sweep's runs read, by paths from the data folder: folders of data sets, or files."""
    key = "problem.dataset"
    base = sweep["set"].get(key, lookup(sweep["base"], key))
    return set(_paths({"dataset": base, "list": sweep["list"], "grid": sweep["grid"]}))


def _paths(value: Any, is_dataset: bool = False) -> Iterator[str]:  # noqa: ANN401
    if isinstance(value, list):
        for item in value:
            yield from _paths(item, is_dataset)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not is_dataset:
                yield from _paths(item, key.split(".")[-1] == "dataset")
            elif key.startswith(_PARTS) and isinstance(item, str):
                yield item
    elif is_dataset and value in FILES:
        yield value
