"""Write all files of a report, or none."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .errors import OutputError, UsageError


def check_folder(folder: Path) -> None:
    """Refuse an output folder that cannot be one, before any work is done."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; give a folder after -o")


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
