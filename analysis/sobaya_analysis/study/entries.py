"""The entries of a study's list: settings with a name and a label."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import StudyError

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
_OWN_KEYS = ("name", "label", "like")
_LONGEST_LABEL = 72


@dataclass(frozen=True)
class Entry:
    """Settings that are combined with the whole grid."""

    settings: Mapping[str, Any]
    name: str = ""
    """By which others are like it, and by which it is selected; may be empty."""
    label: str = ""
    """What tables and figures call it; where empty, the report finds words itself."""


def read_entries(path: Path, items: Any) -> tuple[Entry, ...]:  # noqa: ANN401
    """The entries with what they take over from those that they are like."""
    if not isinstance(items, list) or not items:
        raise StudyError(path, "list must be a list that is not empty")
    found: list[Entry] = []
    for place, item in enumerate(items):
        if not isinstance(item, dict):
            raise StudyError(path, f"list[{place}] must be an object of dotted keys")
        found.append(_entry(path, f"list[{place}]", item, found))
    for what in ("name", "label"):
        values = [value for value in (getattr(entry, what) for entry in found) if value]
        for value in values:
            if values.count(value) > 1:
                raise StudyError(path, f"list: the {what} {value} stands twice")
    return tuple(found)


def _entry(path: Path, what: str, item: Mapping[str, Any], earlier: Iterable[Entry]) -> Entry:
    name, label = item.get("name", ""), item.get("label", "")
    if "name" in item and not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise StudyError(path, f"{what}: {name!r} is no name (lower-case letters, digits and -)")
    if not isinstance(label, str) or not label.isprintable() or len(label) > _LONGEST_LABEL:
        raise StudyError(path, f"{what}: a label is a text of at most {_LONGEST_LABEL} letters")
    settings = {key: value for key, value in item.items() if key not in _OWN_KEYS}
    if "like" in item:
        model = next((e for e in earlier if e.name and e.name == item["like"]), None)
        if model is None:
            raise StudyError(path, f"{what} is like {item['like']!r}, which is no earlier entry")
        settings = {**without(model.settings, settings), **settings}
    return Entry(settings, name, label)


def axis_keys(grid: Mapping[str, Any]) -> set[str]:
    """Keys that a grid sets: an axis `a.b, a.c` sets two of them alike."""
    return {key.strip() for axis in grid for key in axis.split(",")}


def without(settings: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Settings less those at or below one of the keys, which others set."""
    taken = tuple(keys)
    return {
        key: value
        for key, value in settings.items()
        if not any(key == other or key.startswith(f"{other}.") for other in taken)
    }


def label_of(entries: Iterable[Entry], settings: Mapping[str, Any]) -> str:
    """Label of the entry that a sweep's member comes from, empty if that has none.

    Its settings are among the member's; where those of several are, one is like another with
    more settings, and the one with the most is meant.
    """
    fitting = [
        entry
        for entry in entries
        if all(key in settings and settings[key] == v for key, v in entry.settings.items())
    ]
    return max(fitting, key=lambda entry: len(entry.settings)).label if fitting else ""
