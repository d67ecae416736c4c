"""Errors a user can cause; each carries the exit code of the command."""

from __future__ import annotations

from pathlib import Path


class ReportError(Exception):
    """Base of all expected errors: one line for stderr and an exit code."""

    exit_code = 70


class UsageError(ReportError):
    """The command line cannot be carried out as given."""

    exit_code = 2


class OutputError(ReportError):
    """The report could not be written."""

    exit_code = 5


class StudyError(ReportError):
    """The file of a study cannot be used."""

    exit_code = 2

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")


class SweepError(ReportError):
    """The folder of a sweep cannot be used."""

    exit_code = 2

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")


class LogError(ReportError):
    """A log cannot be used. The text names the file, what is wrong and what to do."""

    exit_code = 3

    def __init__(self, path: Path, problem: str, remedy: str) -> None:
        super().__init__(f"{path}: {problem}; {remedy}")
        self.path = path
        self.problem = problem
        self.remedy = remedy


class UnreadableLogError(LogError):
    """The file is not HDF5, is damaged, or may not be read."""


class MissingItemError(LogError):
    """A dataset or an attribute of the schema is not in the file."""


class SchemaVersionError(LogError):
    """The log was written with another major version of the schema."""


class EmptyLogError(LogError):
    """The log has no rows yet."""


class InvalidLogError(LogError):
    """A dataset or an attribute holds something the schema does not allow."""
