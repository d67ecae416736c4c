"""How figures and report look: line styles, matplotlib settings, style sheet."""

from __future__ import annotations

from dataclasses import dataclass

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333")
"""Okabe and Ito's palette, distinguishable with all common kinds of colour blindness."""
ALGORITHM_COLOURS = {
    "soba": "#333333",
    "ef-soba": "#0072B2",
    "c-soba": "#D55E00",
    "cm-soba": "#E69F00",
    "ma-soba": "#009E73",
    "stocbio": "#CC79A7",
    "amigo": "#56B4E9",
    "f2sa": "#882255",
}
"""Colour of each algorithm in all figures of a sweep; the last one is from Tol's muted palette."""
DASHES = ("-", (0, (6, 2)), (0, (1.5, 1.5)), (0, (7, 2, 1.5, 2)), (0, (3, 1.2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

_INK = "#222222"
MATPLOTLIB = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.labelsize": 12,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "xtick.color": "#888888",
    "ytick.color": "#888888",
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "legend.frameon": False,
    "svg.hashsalt": "sobaya",
}


@dataclass(frozen=True)
class Style:
    """How the line of one group looks; distinct in colour, dashes and marker at once."""

    colour: str
    dashes: str | tuple[float, tuple[float, ...]]
    marker: str


def style_of(index: int) -> Style:
    """Style of the group with this index; repeats after 280 groups."""
    return Style(
        COLOURS[index % len(COLOURS)], DASHES[index % len(DASHES)], MARKERS[index % len(MARKERS)]
    )


def algorithm_style(kind: str, variant: int = 0) -> Style:
    """Style of an algorithm: its own colour and marker; variants of it differ in their dashes.

    A kind that is not in the table gets a colour from its name, the same in every report.
    """
    kinds = list(ALGORITHM_COLOURS)
    place = kinds.index(kind) if kind in kinds else sum(kind.encode()) % len(kinds)
    colour = ALGORITHM_COLOURS[kinds[place]]
    return Style(colour, DASHES[variant % len(DASHES)], MARKERS[place % len(MARKERS)])


CSS = """
:root {
  color-scheme: light dark;
  --ink: #1d2126; --soft: #5c6670; --paper: #fbfbfa; --card: #ffffff; --line: #dfe2e6;
  --head: #f2f3f5; --ok: #1b7f4b; --warn: #a86200; --bad: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e4e6e9; --soft: #9ba4ae; --paper: #16181b; --card: #1e2124; --line: #34393f;
    --head: #262a2e; --ok: #5cc98f; --warn: #e3a64a; --bad: #f2857d;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 84rem; padding: 2.5rem 1.5rem 4rem;
  background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; }
h2 {
  font-size: 1.25rem; margin: 3rem 0 .2rem; padding-top: 1.2rem;
  border-top: 1px solid var(--line);
}
h3 { font-size: 1.05rem; margin: 2rem 0 .2rem; }
p { margin: .4rem 0; }
.soft, .note, figcaption, summary { color: var(--soft); }
.note, figcaption { font-size: .88rem; margin-top: .6rem; max-width: 62rem; }
figure { margin: 1.2rem 0; }
figure img {
  display: block; width: 100%; height: auto; padding: .8rem; background: #fff;
  border: 1px solid var(--line); border-radius: .5rem;
}
.scroll {
  overflow-x: auto; background: var(--card);
  border: 1px solid var(--line); border-radius: .5rem;
}
table {
  border-collapse: collapse; width: 100%; font-size: .9rem;
  font-variant-numeric: tabular-nums;
}
th {
  background: var(--head); font-weight: 600; line-height: 1.3;
  text-align: left; vertical-align: bottom; white-space: nowrap;
}
th, td { padding: .5rem .8rem; border-bottom: 1px solid var(--line); }
tr:last-child > td { border-bottom: 0; }
td.n, th.n { text-align: right; white-space: nowrap; }
td.k { white-space: nowrap; }
.label { font-weight: 600; }
.swatch {
  display: inline-block; vertical-align: middle; margin-right: .6rem;
  background: #fff; border-radius: .2rem;
}
.completed { color: var(--ok); }
.running, .stopped { color: var(--warn); }
.failed { color: var(--bad); }
details { margin: .9rem 0 0; font-size: .9rem; }
summary { cursor: pointer; }
details .scroll { margin-top: .6rem; }
pre {
  margin: .6rem 0 0; padding: .8rem 1rem; overflow-x: auto; background: var(--card);
  border: 1px solid var(--line); border-radius: .5rem;
  font: .82rem/1.5 ui-monospace, monospace;
}
footer { margin-top: 3.5rem; font-size: .85rem; color: var(--soft); }
@media print {
  body { max-width: none; padding: 0; }
  details { display: none; }
}
"""
