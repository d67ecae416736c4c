"""Write the report as one HTML page that needs nothing but itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape

from .configs import printable
from .figures import shows_raw, visible_metrics
from .group import Group, Section
from .markup import NONE, counted, document, figure, human_bytes, seconds, status, table
from .summary import GroupSummary, summarise_group, summarise_run
from .theme import style_of

_HEAD = (
    ("group", "k"),
    ("algorithm", ""),
    ("compressor", ""),
    ("seeds", "n"),
    ("iterations", "n"),
    ("test<br>accuracy", "n"),
    ("hypergradient<br>norm", "n"),
    ("uploaded", "n"),
    ("relative<br>to soba", "n"),
    ("wall<br>time [s]", "n"),
    ("status", ""),
)


def html_report(parts: Sequence[Section], images: Mapping[str, Mapping[str, bytes]]) -> str:
    """The page. `images` maps the slug of a section to {"png": bytes}; it may lack sections."""
    n_runs = sum(len(section.runs) for section in parts)
    n_groups = sum(len(section.groups) for section in parts)
    body = "\n".join(_section(section, images.get(section.slug)) for section in parts)
    lead = (
        "Distributed bilevel optimization with compressed communication: "
        f"{counted(n_runs, 'run')} in {counted(n_groups, 'group')}. "
        "Runs of a group differ only by seed."
    )
    return document("Sobaya report", lead, body, "One row per run: summary.csv.")


def _section(section: Section, image: Mapping[str, bytes] | None) -> str:
    parts = [f"<section>\n<h2>{escape(section.title)}</h2>", _facts(section)]
    if image:
        parts.append(_figure(section, image["png"]))
    else:
        parts.append('<p class="soft">No run has recorded a loss or an evaluation yet.</p>')
    parts += [_groups_table(section), _runs_table(section), _configs(section), "</section>"]
    return "\n".join(parts)


def _facts(section: Section) -> str:
    def values(found: Sequence[int | None]) -> str:
        known = sorted({value for value in found if value is not None})
        return ", ".join(str(value) for value in known) or "unknown"

    workers = values([run.n_workers for run in section.runs])
    ranks = values([run.n_ranks for run in section.runs])
    runs = counted(len(section.runs), "run")
    return f'<p class="soft">{runs}, workers: {workers}, ranks: {ranks}</p>'


def _figure(section: Section, png: bytes) -> str:
    *most, last = [metric.label for metric in visible_metrics(section)]
    names = f"{', '.join(most)} and {last}" if most else last
    caption = (
        f"{names[:1].upper()}{names[1:]} against iteration, uploaded bits per worker and wall "
        "time. Lines are medians over the runs of a group, bands span the 20 % to 80 % "
        "quantiles, n is the number of runs. The abscissa is the median at the same iteration. "
        "An iteration is drawn if at least half of the runs of its group have reached it."
    )
    if any(metric.noisy for metric in visible_metrics(section)):
        raw = "raw values faint, " if shows_raw(section) else ""
        caption += (
            f" The upper-level loss is the workers' mini-batch mean: {raw}running mean over 2 % of "
            "the rows (at most 501) as lines."
        )
    return figure(png, f"{names} of {section.title}", caption)


def _groups_table(section: Section) -> str:
    rows = [
        _group_row(index, group, summarise_group(group, section.groups))
        for index, group in enumerate(section.groups)
    ]
    note = (
        "Medians over the runs of a group. Test accuracy: mean of the last five evaluations. "
        "Hypergradient norm: last evaluation. Uploaded: all workers together; relative to soba: "
        "bytes per iteration next to the uncompressed group of the same problem, number of "
        "workers and precision."
    )
    return f'{table(_HEAD, rows)}\n<p class="note">{note}</p>'


def _group_row(index: int, group: Group, numbers: GroupSummary) -> list[str]:
    fewest, most = numbers.iterations
    seeds = str(numbers.n_seeds)
    if numbers.n_runs != numbers.n_seeds:
        seeds += f" ({counted(numbers.n_runs, 'run')})"
    ratio = numbers.upload_ratio
    statuses = ", ".join(
        status(name, count if len(numbers.status) > 1 else None)
        for name, count in numbers.status.items()
    )
    return [
        f'{_swatch(index)}<span class="label">{escape(group.label)}</span>',
        escape(numbers.algorithm),
        escape(numbers.compressor),
        seeds,
        f"{fewest:,}" if fewest == most else f"{fewest:,} \N{EN DASH} {most:,}",
        NONE if numbers.test_accuracy is None else f"{numbers.test_accuracy:.4f}",
        NONE if numbers.hypergradient_norm is None else f"{numbers.hypergradient_norm:.2e}",
        human_bytes(numbers.upload_bytes),
        NONE if ratio is None else f"{100 * ratio:.3g} %",
        seconds(numbers.wall_seconds),
        statuses,
    ]


def _runs_table(section: Section) -> str:
    head = [("group", "k"), ("run", ""), ("seed", "n"), ("iterations", "n"), *_HEAD[5:8]]
    head += [("wall<br>time [s]", "n"), ("status", ""), ("program", ""), ("log", "")]
    rows = []
    for group in section.groups:
        for run in group.runs:
            final = summarise_run(run)
            accuracy, norm = final.test_accuracy, final.hypergradient_norm
            program = (run.attributes.get("program_version"), run.attributes.get("git_commit"))
            reason = f" ({escape(printable(run.stop_reason))})" if run.stop_reason else ""
            rows.append(
                [
                    escape(group.label),
                    escape(printable(run.name)),
                    NONE if run.seed is None else str(run.seed),
                    f"{final.iterations:,}",
                    NONE if accuracy is None else f"{accuracy:.4f}",
                    NONE if norm is None else f"{norm:.2e}",
                    human_bytes(final.upload_bytes),
                    seconds(final.wall_seconds),
                    status(run.status) + reason,
                    escape(" ".join(printable(part)[:12] for part in program if part)),
                    escape(printable(str(run.path), 200)),
                ]
            )
    return f"<details><summary>Runs</summary>\n{table(head, rows)}\n</details>"


def _configs(section: Section) -> str:
    blocks = [
        f"<p>{escape(group.label)}</p>\n<pre>{escape(json.dumps(group.config, indent=2))}</pre>"
        for group in section.groups
    ]
    return "<details><summary>Configurations</summary>\n" + "\n".join(blocks) + "\n</details>"


def _swatch(index: int) -> str:
    """The line of a group in the figure, as a small inline drawing."""
    style = style_of(index)
    array = "none"
    if not isinstance(style.dashes, str):
        array = " ".join(f"{2 * length:g}" for length in style.dashes[1])
    return (
        '<svg class="swatch" width="44" height="14" viewBox="0 0 44 14" aria-hidden="true">'
        f'<line x1="3" y1="7" x2="41" y2="7" stroke="{style.colour}" stroke-width="3" '
        f'stroke-dasharray="{array}"/></svg>'
    )
