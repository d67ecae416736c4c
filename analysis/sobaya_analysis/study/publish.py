"""Write everything that a study's runs came to: the page, figures, tables, the final sweep."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from ..output import check_folder, write_all, write_report
from ..sweep.command import files_of
from ..sweep.experiment import Experiment, experiment
from ..sweep.model import Sweep, check_ended, read_sweep
from ..sweep.page import chapter
from .entries import axis_keys, label_of
from .model import Study
from .options import choices as choices_of
from .page import EMBEDDED, Content, page
from .sweeps import final_sweep, json_text
from .tuning import choose, steps_csv

LARGEST = 3_000_000
"""Bytes of a study's folder, which is committed."""


def publish(
    study: Study,
    final: Path,
    tuned: Path | None,
    out: Path,
    command: str,
    source: str,
    skip_bad: bool = False,
) -> Path:
    """Make out/NAME.md and the folder out/NAME from the folders of the sweeps; returns the page.

    A final run that has not ended, or failed otherwise than by diverging, is refused, unless
    `skip_bad` says to do without it.
    The whole report stands in `final`/report, too, where nothing limits its size.
    """
    folder = out / study.name
    check_folder(folder)
    tuning = read_sweep(tuned) if tuned is not None else None
    sweep = read_sweep(final, skip_bad)
    if not skip_bad:
        for member in sweep.members:
            check_ended(sweep, member, "run the sweep again, or pass --skip-bad to do without it")
    found = _experiment(study, sweep)
    choices = choose(study, tuning) if tuning is not None else []
    one = chapter("", found, choices_of(study.path, study.report, found))
    files = files_of([one])
    if choices:
        files["steps.csv"] = steps_csv(choices).encode()
    settings = [choice.settings for choice in choices] if tuning is not None else None
    files["final.json"] = json_text(final_sweep(study, settings)).encode()
    write_report(final / "report", files)
    files = fitting(files, [p.name for part in one.parts for p in part.pictures[EMBEDDED:]])
    runs = [m.run for m in tuning.members if m.run is not None] if tuning is not None else []
    content = Content(study, command, found, one.parts, choices, runs, files.keys(), source)
    _clear(folder, files)
    write_all(folder, files)
    write_all(out, {f"{study.name}.md": page(content).encode()})
    return out / f"{study.name}.md"


def fitting(files: Mapping[str, bytes], spare: Collection[str]) -> dict[str, bytes]:
    """What of the files fits.

    The first to go is report.html, which holds the figures again, then SVG, then PNG of `spare`
    figures, which the page does not show; the largest ones first.
    """
    kept = dict(files)
    by_size = sorted(files, key=lambda name: -len(files[name]))
    vector = [name for name in by_size if name.endswith(".svg")]
    further = [name for name in by_size if name.removesuffix(".png") in spare]
    for name in ["report.html", *vector, *further]:
        if sum(map(len, kept.values())) <= LARGEST:
            break
        kept.pop(name, None)
    return kept


def _clear(folder: Path, files: Mapping[str, bytes]) -> None:
    """Remove figures of an earlier report that this one does not have."""
    if not folder.is_dir():
        return
    for kind in ("png", "svg", "html"):
        for path in folder.glob(f"*.{kind}"):
            if path.name not in files:
                path.unlink()


def _experiment(study: Study, sweep: Sweep) -> Experiment:
    names = {member.hash: label_of(study.entries, member.settings) for member in sweep.members}
    varied = axis_keys(study.final.grid)
    tuned = axis_keys(study.tuning.grid) - varied if study.tuning else set()
    return experiment(sweep, names, tuned, study.scale)
