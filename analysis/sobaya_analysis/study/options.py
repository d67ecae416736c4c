"""The options of its report that a study gives: checked before the runs, used after them."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NoReturn

from ..errors import StudyError, UsageError
from ..sweep.choices import add_choices, check_values, choices_of
from ..sweep.experiment import Experiment
from ..sweep.part import Choices


class _Parser(ArgumentParser):
    """Says which study has options that cannot be used."""

    def __init__(self, path: Path) -> None:
        super().__init__(add_help=False)
        self.path = path

    def error(self, message: str) -> NoReturn:
        raise StudyError(self.path, f"report: {message}")


def check_options(path: Path, words: Sequence[str], name: str, keys: Collection[str]) -> None:
    """Refuse options that the report over the final sweep `name`, which sets `keys`, would refuse.

    That a key takes two values with one method is known from the members alone.
    """
    options = _parsed(path, words)
    for option in ("x", "rows", "columns", "step"):
        value = getattr(options, option)
        for key in value if isinstance(value, list) else [value]:
            if key is not None and not _may_vary(key, keys):
                raise StudyError(
                    path, f"report.{option}: {key} is set in none of list, grid and final.grid"
                )
    for text in options.target:
        other = text.rpartition("=")[0]
        if other and other != name:
            raise StudyError(path, f"report.target: {text}: the sweep is named {name}")


def choices(path: Path, words: Sequence[str], found: Experiment) -> Choices:
    """What the options say about the final sweep."""
    try:
        return choices_of(_parsed(path, words), [found])
    except UsageError as error:
        raise StudyError(path, f"report: {error}") from error


def _parsed(path: Path, words: Sequence[str]) -> Namespace:
    parser = _Parser(path)
    add_choices(parser)
    options = parser.parse_args(list(words))
    try:
        check_values(options)
    except UsageError as error:
        raise StudyError(path, f"report: {error}") from error
    return options


def _may_vary(key: str, keys: Collection[str]) -> bool:
    """Whether a key, or an object that may hold it, is set; a compressor's are named anew."""
    if key.startswith("compressor."):
        return any(other.split(".")[0] == "compressor" for other in keys)
    return any(key == other or key.startswith(f"{other}.") for other in keys)
