"""Table and picture of all compressors from what `sobaya bench compress --json` printed.

Writes the table in Markdown and, next to it, the picture as PNG and SVG and the measurements.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[2]
# Okabe and Ito's colours, distinguishable with all common kinds of colour blindness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h")
SETTINGS = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "svg.hashsalt": "sobaya",
}
ADVICE = {
    "identity": "reference; when bytes do not matter",
    "rand-k": "unbiased with a support from the key; `stratified` for speed, `shared` to add up "
    "packets on the way",
    "rand-block": "as rand-k at the speed of a copy, where neighbours may be sent together",
    "bernoulli": "as rand-k with independent coordinates; the length varies",
    "multi-step": "smaller omega with the same inner compressor; `disjoint` is never worse",
    "natural": "unbiased with the smallest omega without any parameter",
    "dithering": "unbiased and accurate: few bits a coordinate, all coordinates",
    "ternary": "unbiased at under 2 bits a coordinate",
    "sign": "1 bit a coordinate with error feedback",
    "top-k": "fewest bytes at the same error with error feedback; 4 bits for slow links",
    "low-rank": "matrices with quickly falling singular values, with error feedback",
}
"""When to use a kind; said at its first row."""

Row = dict[str, Any]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("results", type=Path, help="output of `sobaya bench compress --json`")
    add("--dim", type=int, default=1000000, help="length of vectors to show")
    add("--output", type=Path, default=ROOT / "docs/compression.md", help="table; rest next to it")
    args = parser.parse_args()
    if args.output.suffix != ".md":
        parser.error("--output names the table, a file .md")
    return args


def read(args: argparse.Namespace) -> tuple[dict[str, Any], list[Row]]:
    """The whole file and the rows to show."""
    try:
        printed = json.loads(args.results.read_text())
        rows = [row for row in printed["rows"] if row["dim"] == args.dim]
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        sys.exit(f"compression.py: {args.results} is no output of bench compress --json: {error!r}")
    if not rows:
        sys.exit(f"compression.py: {args.results} has no rows of dimension {args.dim}")
    if unknown := {row["compressor"] for row in rows} - set(ADVICE):
        sys.exit(f"compression.py: say in ADVICE when to use {', '.join(sorted(unknown))}")
    return printed, rows


def contractive_error(row: Row) -> float:
    """The relative error of the contractive version: C / (1 + omega) for an unbiased C."""
    error = row["relative_error"]
    return error / (1 + error) if "omega" in row["promise"] else error


def promise(row: Row) -> str:
    """What holds for every vector."""
    ((name, value),) = row["promise"].items()
    kind = {"omega": "unbiased, omega", "delta": "contractive, delta"}[name]
    return f"{kind} = {value:.3g}"


def number(value: float) -> str:
    """Three digits, without an exponent where it would not help."""
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:.1e}"


def table(printed: dict[str, Any], rows: list[Row], picture: str) -> str:
    """The page in Markdown."""
    dim, precision = rows[0]["dim"], printed["precision"]
    width = {"f32": 4, "f64": 8}[precision]
    lines = [
        "# Compressors side by side",
        "",
        f"Standard normal vectors of length {dim:,} in {precision}; {printed['machine']} with "
        f"{printed['kernels']}, one core. Made by `benches/peers/compression.py` from "
        "`sobaya bench compress --json`.",
        "",
        f"![Error against bytes]({picture})",
        "",
        "| | compressor | promise | bits a coordinate | bytes | bound | relative error "
        "| alpha 4^b | encode | add | GB/s | when to use |",
        "| ---: | :--- | :--- |" + " ---: |" * 8 + " :--- |",
    ]
    said: set[str] = set()
    for place, row in enumerate(rows, 1):
        kind = row["compressor"]
        advice = "" if kind in said else ADVICE[kind]
        said.add(kind)
        bound = "-" if row["bound_bytes"] is None else f"{row['bound_bytes']:,.0f}"
        memcpy = row["memcpy_seconds"]
        cells = [
            str(place),
            row["name"],
            promise(row),
            number(row["bits_per_coordinate"]),
            f"{row['packet_bytes']:,.0f}",
            bound,
            number(row["relative_error"]),
            number(row["rate_distortion"]),
            f"{row['encode_seconds'] / memcpy:.2f}",
            f"{row['decode_add_seconds'] / memcpy:.2f}",
            f"{dim * width / row['encode_seconds'] / 1e9:.1f}",
            advice,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "- Promise: for every vector, E C(v) = v and E|C(v) - v|^2 <= omega |v|^2 (unbiased), or "
        "E|C(v) - v|^2 <= (1 - delta) |v|^2 (contractive). Contractive ones need error feedback.",
        "- Bytes: a packet with its header. Bound: values alone where the support comes from the "
        "key; log2 of the number of supports and the values where it comes from the data; the "
        "entropy of the symbols and the scales for quantisers.",
        "- Relative error: |C(v) - v|^2 / |v|^2, a mean over draws. alpha: the same for the "
        "contractive version, C(v) / (1 + omega) if C is unbiased. alpha 4^b >= 1 for any code of "
        "normal numbers at b bits a coordinate, here with the whole packet counted.",
        "- Numbers in the picture are rows of the table.",
        "- Encode, add: processor time in times of copying the vector, medians; GB/s of the "
        "vector while encoding.",
        "",
    ]
    return "\n".join(lines)


def together(shown: list[tuple[int, Row]]) -> list[tuple[tuple[float, float], list[int]]]:
    """Points with the numbers of the rows there; rows within 4 % in both directions are one."""
    points: list[tuple[tuple[float, float], list[int]]] = []
    for place, row in shown:
        at = (row["packet_bytes"], contractive_error(row))
        for there, places in points:
            if all(abs(a / b - 1) < 0.04 for a, b in zip(at, there, strict=True)):
                places.append(place)
                break
        else:
            points.append((at, [place]))
    return points


def draw(axes: Axes, rows: list[Row]) -> None:
    """Error against bytes, with Shannon's bound."""
    dim = rows[0]["dim"]
    shown = [
        (place, row) for place, row in enumerate(rows, 1) if contractive_error(row) > 0
    ]  # identity makes no error
    kinds = list(dict.fromkeys(row["compressor"] for _, row in shown))
    for index, kind in enumerate(kinds):
        points = [
            (row["packet_bytes"], contractive_error(row))
            for _, row in shown
            if row["compressor"] == kind
        ]
        style = {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}
        axes.plot(*zip(*points, strict=True), linestyle="none", label=kind, **style)
    for at, places in together(shown):
        label = ", ".join(map(str, places))
        axes.annotate(label, at, (5, 4), textcoords="offset points", fontsize=8)
    most = max(row["packet_bytes"] for _, row in shown)
    least = min(row["packet_bytes"] for _, row in shown)
    lowest = min(contractive_error(row) for _, row in shown)
    steps = [least * (most / least) ** (i / 200) for i in range(201)]
    bound = [(size, 4.0 ** (-8 * size / dim)) for size in steps]
    bound = [(size, error) for size, error in bound if error >= lowest / 10]
    label = "rate-distortion bound, $4^{-b}$"
    axes.plot(*zip(*bound, strict=True), color="#888888", linestyle="--", label=label)
    axes.set(xscale="log", yscale="log")
    axes.set_xlabel(f"bytes of a packet (d = {dim:,})")
    axes.set_ylabel("relative error of the contractive version")
    axes.legend(frameon=False, loc="lower left")


def main() -> None:
    """Read the measurements and write all files."""
    args = arguments()
    printed, rows = read(args)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(8, 5.5), layout="constrained")
        draw(figure.subplots(), rows)
        figure.savefig(args.output.with_suffix(".png"), dpi=150)
        figure.savefig(args.output.with_suffix(".svg"), metadata={"Date": None})
    args.output.write_text(table(printed, rows, args.output.with_suffix(".svg").name))
    args.output.with_suffix(".json").write_text(json.dumps(printed, indent=1) + "\n")


if __name__ == "__main__":
    main()
