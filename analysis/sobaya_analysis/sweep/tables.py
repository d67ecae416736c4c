"""summary.csv with one row per run, and groups.csv with one row per cell."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..configs import describe, number
from ..summary import summarise_run
from .experiment import Cell, Experiment, is_reference, merged_steps
from .model import PHASES, STATES, Member
from .numbers import (
    AREAS,
    MEASURES,
    Band,
    Measure,
    final,
    final_band,
    paired,
    score,
    visible_measures,
)
from .recovered import recovered
from .traffic import upload

_LAST = (
    "objective",
    *(area.column for area in AREAS),
    "lower_distance",
    "auxiliary_distance",
)


def runs_csv(experiments: Sequence[Experiment]) -> str:
    """summary.csv: every member, finished or not; empty where there is no number."""
    return _text(
        [
            {**_what(experiment, cell), **_member(member)}
            for experiment in experiments
            for cell in experiment.all_cells
            for member in cell.members
        ]
    )


def groups_csv(experiments: Sequence[Experiment]) -> str:
    """groups.csv: bands over the seeds, and what was lost against soba at its best step sizes."""
    rows = []
    for experiment in experiments:
        tuned = {
            measure: merged_steps(
                experiment.cells, experiment.step_axes, lambda cell, m=measure: score(cell, m)
            )
            for measure in MEASURES
        }
        seen = next(iter(visible_measures(experiment.cells)), MEASURES[0])
        rows += [
            {
                **_what(experiment, cell),
                **_group(cell, tuned),
                **_more(cell, experiment),
                **_upload(cell, tuned[seen]),
            }
            for cell in experiment.cells
        ]
        # What methods are measured between is compared with none of them.
        rows += [
            {
                **_what(experiment, cell),
                **_group(cell, dict.fromkeys(MEASURES, ())),
                **_more(cell, experiment),
            }
            for cell in experiment.bounds
        ]
    return _text(rows)


def _what(experiment: Experiment, cell: Cell) -> dict[str, Any]:
    return {
        "sweep": experiment.sweep.name,
        "group": cell.label,
        "algorithm": cell.kind,
        "compressor": describe(cell.config.get("compressor")),
        **{key: None if v is None else number(v) for key, v in cell.settings.items()},
    }


def _member(member: Member) -> dict[str, Any]:
    row: dict[str, Any] = {
        "hash": member.hash,
        "seed": member.seed,
        "state": member.state,
        "reason": member.reason,
    }
    run = member.run
    if run is None:
        return row
    ended = summarise_run(run)
    row |= {
        "iterations": ended.iterations,
        "final_upper_loss": ended.upper_loss,
        **{f"final_{m.column}": _share(final(member, m), m) for m in MEASURES},
    }
    for column in _LAST:
        values = getattr(run, column)
        known = values[~np.isnan(values)]
        row[f"final_{column}"] = float(known[-1]) if len(known) else None
    return row | {
        "upload_bytes": ended.upload_bytes,
        "download_bytes": ended.download_bytes,
        "upload_bits_per_worker": ended.upload_bits_per_worker,
        "wall_seconds": ended.wall_seconds,
        **{f"seconds_{phase}": member.seconds.get(phase) for phase in PHASES},
        **run.attributes,
    }


def _group(cell: Cell, tuned: Mapping[Measure, Sequence[Cell]]) -> dict[str, Any]:
    states = [member.state for member in cell.members]
    row: dict[str, Any] = {state: states.count(state) for state in STATES}
    for measure, cells in tuned.items():
        base = _soba(cell, cells)
        row |= _band("final", final_band(cell, measure), measure)
        lost = paired(cell, base, measure) if base else None
        row |= _band("lost", lost, measure)
    return row


def _more(cell: Cell, experiment: Experiment) -> dict[str, float | None]:
    """Columns that few sweeps have."""
    row: dict[str, float | None] = {}
    for area in visible_measures(experiment.all_cells, AREAS):
        row |= _band("final", final_band(cell, area), area)
    if experiment.scale is not None and cell not in experiment.bounds:
        for measure in visible_measures(experiment.all_cells):
            found = recovered(cell, experiment, measure)
            ends = ("median", "low", "high")
            name = f"recovered_{measure.column}"
            row |= {f"{name}_{end}": getattr(found, end, None) for end in ends}
    return row


def _upload(cell: Cell, cells: Sequence[Cell]) -> dict[str, float | None]:
    own, full = upload(cell), upload(_soba(cell, cells))
    return {
        "upload_bytes_per_worker": own,
        "upload_ratio_to_soba": own / full if own is not None and full else None,
    }


def _soba(cell: Cell, cells: Sequence[Cell]) -> Cell | None:
    """The cell to compare with, which for a soba cell is soba at its best, not itself."""
    return next((other for other in cells if is_reference(other, cell)), None)


def _band(name: str, band: Band | None, measure: Measure) -> dict[str, float | None]:
    return {
        f"{name}_{measure.column}_{end}": _share(getattr(band, end, None), measure)
        for end in ("median", "low", "high")
    }


def _share(value: float | None, measure: Measure) -> float | None:
    """Accuracies as shares, as in logs and in the other report's summary.csv."""
    return value / 100 if value is not None and measure.percent else value


def _text(rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV with every column that any row has, in the order in which they first appear."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=names, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows({key: _plain(value) for key, value in row.items()} for row in rows)
    return out.getvalue()


def _plain(value: Any) -> Any:  # noqa: ANN401
    return "" if isinstance(value, float) and math.isnan(value) else value
