"""Write everything a study's runs came to: the page, the picture, report and table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..__main__ import build
from ..group import Section, sections
from ..output import check_folder, write_all
from .figure import tradeoff
from .model import Study
from .page import page
from .results import MethodResult, load_results


def publish(study: Study, runs: Path, out: Path, command: str) -> Path:
    """Make out/NAME.md and the folder out/NAME from the runs METHOD-sSEED; returns the page."""
    folder = out / study.name
    check_folder(folder)
    results = load_results(study, runs)
    figure = tradeoff(results, study.reference)
    files = build(labelled_sections(results))
    files |= {f"tradeoff.{kind}": content for kind, content in (figure or {}).items()}
    text = page(study, results, command, figure is not None)
    write_all(folder, files)
    write_all(out, {f"{study.name}.md": text.encode()})
    return out / f"{study.name}.md"


def labelled_sections(results: Sequence[MethodResult]) -> tuple[Section, ...]:
    """The report's sections, in which every group has the label of its method."""
    labels = {run.path: result.method.label for result in results for run in result.runs}
    parts = sections([run for result in results for run in result.runs])
    return tuple(
        replace(
            part,
            groups=tuple(replace(group, label=labels[group.runs[0].path]) for group in part.groups),
        )
        for part in parts
    )
