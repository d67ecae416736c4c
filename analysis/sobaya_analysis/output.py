"""Write all files of a report, or none."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .errors import OutputError, UsageError

LIST = ".sobaya-report"
"""Names of the files of the report in a folder, a line each."""
_OF_REPORTS = (".png", ".svg", ".html", ".csv")
_OF_OTHERS = {"sweep.json": "a sweep", "log.h5": "a run"}
"""What `sobaya` keeps in its own folders, beside a summary.csv or summary.json of its own."""


def check_folder(folder: Path) -> None:
    """Refuse an output folder that cannot be one, before any work is done."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; give a folder after -o")


def check_report_folder(folder: Path) -> None:
    """Refuse an output folder that cannot be one, or in which a sweep or a run has its files."""
    check_folder(folder)
    for name, owner in _OF_OTHERS.items():
        if (folder / name).exists():
            raise UsageError(
                f"{folder}: is the folder of {owner} (it holds {name}), which has files of its "
                f"own; give another after -o, such as {folder / 'report'}"
            )


def write_report(folder: Path, files: Mapping[str, bytes]) -> None:
    """`write_all`, in place of the report that the folder holds: what only that had is removed."""
    check_report_folder(folder)
    earlier = _listed(folder)
    write_all(folder, {**files, LIST: "".join(f"{name}\n" for name in sorted(files)).encode()})
    try:
        for name in earlier - files.keys():
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{error.filename}: cannot remove this file of an earlier report ({error.strerror})"
        ) from error


def _listed(folder: Path) -> set[str]:
    """Files of the report that the folder holds; only such names as reports give to files."""
    try:
        names = (folder / LIST).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return set()
    return {name for name in names if name == Path(name).name and name.endswith(_OF_REPORTS)}


def write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write `files` (name to content) into a temporary folder, then move them to `folder`."""
    check_folder(folder)
    present = folder.exists()
    staging: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        place = folder if present else folder.parent
        staging = Path(tempfile.mkdtemp(prefix=".sobaya-report-", dir=place))
        for name, content in files.items():
            (staging / name).write_bytes(content)
        if not present:
            staging.chmod(0o777 & ~_umask())
            staging.rename(folder)
            return
        for name in files:
            (staging / name).replace(folder / name)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot write the report ({error.strerror or error}); "
            "check its permissions and the space left, or give another folder after -o"
        ) from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def _umask() -> int:
    """Permission bits that new folders are not to have."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
