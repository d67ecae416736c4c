"""The index of a folder of studies: a row for each that has a page."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from pathlib import Path

from .model import Study
from .page import escaped, table

POINTS = 0.01
"""Share of accuracy that a method may lose in the index's comparison."""


def index(title: str, studies: Iterable[Study], out: Path) -> str:
    """The page, which stands beside the folder `out` of the studies' pages."""
    rows = []
    for study in studies:
        if (out / f"{study.name}.md").is_file():
            label, times, lost = saving(out / study.name / "groups.csv")
            link = f"{out.name}/{study.name}.md"
            rows.append((f"[{escaped(study.title)}]({link})", escaped(label), times, lost))
    head = [("study", "k"), ("fewest bytes at under 1 point lost", "k")]
    head += [("times less than soba", "n"), ("points lost", "n")]
    return (
        f"# {title}\n\n{table(head, rows)}\n\n"
        "Medians over the seeds; points of test accuracy, paired by seed. The pages say more.\n"
    )


def saving(groups: Path) -> tuple[str, str, str]:
    """Of the methods that lose less than a point the one that uploads least, against soba."""
    try:
        rows = list(csv.DictReader(groups.read_text(encoding="utf-8").splitlines()))
    except OSError:
        rows = []
    best = ("-", "-", "-")
    least = math.inf
    for row in rows:
        ratio = _number(row.get("upload_ratio_to_soba"))
        for column in ("test_accuracy", "solution_accuracy"):
            lost = _number(row.get(f"lost_{column}_median"))
            if not math.isnan(lost):
                break
        if row.get("algorithm") != "soba" and lost < POINTS and 0 < ratio < least:
            least = ratio
            best = (row.get("group", "-"), f"{1 / ratio:.3g}", f"{100 * lost + 0.0:.2f}")
    return best


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
