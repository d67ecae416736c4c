"""Pieces of HTML that all pages share: the document, tables, figures, numbers with units."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from . import __version__
from .configs import printable
from .theme import CSS

NONE = '<span class="soft">\N{EN DASH}</span>'
"""What stands in a cell for a number that is not known."""

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STATUSES = ("completed", "running", "stopped", "failed")


def document(title: str, lead: str, body: str, foot: str) -> str:
    """A page that loads nothing else; `lead`, `body` and `foot` are HTML."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(title)}</title>
<style>{CSS}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p class="soft">{lead}</p>
</header>
{body}
<footer>Made by sobaya_analysis {escape(__version__)}. {foot}</footer>
</body>
</html>
"""


def figure(png: bytes, alternative: str, caption: str) -> str:
    """A picture within the page; `alternative` is text, `caption` HTML."""
    data = base64.b64encode(png).decode("ascii")
    return (
        f'<figure><img alt="{escape(alternative)}" src="data:image/png;base64,{data}">\n'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def table(head: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> str:
    """Table of ready HTML cells; a column of class n holds numbers."""
    top = "".join(f'<th class="{kind}">{text}</th>' for text, kind in head)
    lines = []
    for row in rows:
        cells = zip(row, head, strict=True)
        lines.append("".join(f'<td class="{kind}">{cell}</td>' for cell, (_, kind) in cells))
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="scroll"><table>\n<thead><tr>{top}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def status(name: str, count: int | None = None) -> str:
    """The status of a run, or of `count` runs, in its colour."""
    kind = name if name in _STATUSES else "soft"
    prefix = "" if count is None else f"{count} "
    return f'<span class="{kind}">{prefix}{escape(printable(name))}</span>'


def counted(number: int, noun: str) -> str:
    """The number with its noun, in the plural if need be."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def human_bytes(count: float) -> str:
    """Decimal prefix and three digits: 4.15 GB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(count) < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} PB"


def seconds(value: float) -> str:
    """Three digits below 1000 s, whole seconds above."""
    return f"{value:,.0f}" if value >= 999.5 else f"{value:#.3g}".rstrip(".")
