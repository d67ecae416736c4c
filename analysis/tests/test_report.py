"""Figures, the page and the command as a user sees them."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from sobaya_analysis.__main__ import main
from sobaya_analysis.curves import AXES
from sobaya_analysis.figures import horizontal_limits, legend_grid, overview, visible_metrics
from sobaya_analysis.group import sections
from sobaya_analysis.markup import human_bytes, seconds
from sobaya_analysis.runs import load_run
from sobaya_analysis.theme import style_of

from .conftest import MakeLog, config_of

NASTY = "<script>alert('$x_{')</script>&\"\n$\\frac\u4e2d\ud800"


class Page(HTMLParser):
    """Collects tags, what is not closed, and every attribute that could load something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember the tag and what it loads."""
        self.tags.append(tag)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_endtag(self, tag: str) -> None:
        """Check that tags are nested."""
        assert self.open.pop() == tag


def page_of(text: str) -> Page:
    page = Page()
    page.feed(text)
    page.close()
    return page


def test_files_of_a_report(
    make_log: MakeLog, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for kind in ("soba", "ef-soba"):
        make_log(f"sweep/{kind}", config_of(kind))
    out = tmp_path / "deep" / "out"
    assert main([str(tmp_path / "sweep"), "-o", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {
        ".sobaya-report",
        "overview.png",
        "overview.svg",
        "report.html",
        "summary.csv",
    }
    assert (out / "overview.png").read_bytes().startswith(b"\x89PNG")
    assert "2 runs in 2 groups" in capsys.readouterr().out
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    assert main([str(tmp_path / "sweep"), "-o", str(out)]) == 0, "again into the same folder"
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first, "same bytes"


def test_page_is_self_contained_and_escaped(make_log: MakeLog, tmp_path: Path) -> None:
    compressor = {"kind": NASTY, "ratio": 0.1}
    nasty = config_of(
        NASTY, compressor=compressor, name=NASTY, problem={"kind": NASTY, "dataset": "../.."}
    )
    log = make_log("a", nasty, attributes={"status": "<b>odd</b>", "stop_reason": "<i>why</i>"})
    out = tmp_path / "out"
    assert main([str(log), str(make_log("b")), "-o", str(out)]) == 0
    text = (out / "report.html").read_text(encoding="utf-8")
    page = page_of(text)
    assert page.open == []
    assert not {"script", "link", "iframe", "b", "i"} & set(page.tags)
    assert len(page.loads) == 2
    assert all(load.startswith("data:image/png;base64,") for load in page.loads)
    assert not re.search(r"(src|href|url)\s*[=(]\s*[\"']?https?:", text)
    assert "&lt;script&gt;" in text
    assert all(path.parent == out for path in out.rglob("*")), "no path from a config"


def test_table_shows_the_numbers(make_log: MakeLog, tmp_path: Path) -> None:
    soba, ef = make_log("s"), make_log("e", config_of("ef-soba"), upload=100)
    assert main([str(soba), str(ef), "-o", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith("<tr>") and "ef-soba" in line)
    cells = [re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)]
    assert cells == [
        "ef-soba",
        "ef-soba",
        "none",
        "1",
        "10",
        "0.5300",
        "1.00e-05",
        "1 kB",
        "10 %",
        "5.00",
        "completed",
    ]


def test_rows_without_data_are_dropped(make_log: MakeLog) -> None:
    replace = {"test_accuracy": np.full(6, np.nan)}
    section = sections([load_run(make_log("a", replace=replace))])[0]
    assert [metric.column for metric in visible_metrics(section)] == [
        "upper_loss",
        "hypergradient_norm",
    ]


def test_a_report_without_any_data(make_log: MakeLog, tmp_path: Path) -> None:
    nothing = {name: [np.nan] for name in ("upper_loss", "test_accuracy", "hypergradient_norm")}
    log = make_log("a", n_rows=1, replace=nothing)
    assert overview(sections([load_run(log)])[0]) is None
    assert main([str(log), "-o", str(tmp_path / "out")]) == 0
    assert "No run has recorded" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "replace",
    [
        {"hypergradient_norm": [1.0, 1e3, 1e9, np.inf, np.inf, np.nan]},
        {"hypergradient_norm": np.zeros(6)},
        {"hypergradient_norm": 10.0 ** np.linspace(0, 300, 6)},
        {"hypergradient_norm": [1e-320, 1e-310, 1e-300, 1.0, 1e160, 1e300]},
        {"upper_loss": 10.0 ** np.linspace(0, 308, 11)},
        {"upper_loss": -(10.0 ** np.linspace(0, 308, 11))},
        {"upper_loss": [np.nan, *(1.7e308 * (-1.0) ** np.arange(10))]},
        {"upper_loss": [1e-320, *np.full(10, 1.0)]},
        {"upper_loss": [np.nan, *np.full(9, 1e300), np.inf]},
        {"upper_loss": np.full(11, -1.0)},
        {"upper_loss": 10.0 ** -np.arange(11.0)},
        {"upload_bits_per_worker": np.zeros(11, int)},
        {"eval_iteration": [], "test_accuracy": [], "hypergradient_norm": []},
    ],
)
def test_odd_values_can_be_drawn(make_log: MakeLog, replace: dict) -> None:
    assert overview(sections([load_run(make_log("a", replace=replace))])[0])


@pytest.mark.parametrize("with_a_good_one", [True, False])
def test_runs_that_diverged_have_a_page(
    make_log: MakeLog, tmp_path: Path, with_a_good_one: bool
) -> None:
    """Every row logged, up to the largest doubles, over which means are taken as well."""
    rows = np.exp(np.linspace(0, 709, 201))
    for seed in (1, 2):
        lost = {"upper_loss": rows, "hypergradient_norm": rows[::2]}
        failed = {"status": "failed", "stop_reason": "x: an entry is infinite"}
        make_log(f"runs/{seed}", config_of(seed=seed), 201, replace=lost, attributes=failed)
    if with_a_good_one:
        make_log("runs/good", config_of("ef-soba"), 201)
    assert main([str(tmp_path / "runs"), "-o", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "overview.png").exists()
    rows = (tmp_path / "out" / "summary.csv").read_text().splitlines()
    assert "e+30" in rows[1], "what was logged stands in the table"


def test_logarithmic_axis_begins_at_the_first_evaluation(make_log: MakeLog) -> None:
    section = sections([load_run(make_log("a", n_rows=101, eval_every=20))])[0]
    metrics = visible_metrics(section)
    assert horizontal_limits(AXES[0], section, metrics) == (0, 100)
    assert horizontal_limits(AXES[1], section, metrics) == (40_000, 200_000)


def test_styles_are_distinct() -> None:
    styles = [style_of(index) for index in range(280)]
    assert len({(s.colour, s.dashes, s.marker) for s in styles}) == 280
    assert len({s.colour for s in styles[:7]}) == 7
    assert len({s.dashes for s in styles[:5]}) == 5


@pytest.mark.parametrize("count", [1, 2, 5, 12, 40])
def test_legend_holds_all_groups(count: int) -> None:
    columns, rows = legend_grid(["ef-soba, rand-k, ratio 0.1 (n = 3)"] * count)
    assert columns * rows >= count
    assert columns <= 4


def test_units() -> None:
    assert [human_bytes(n) for n in (0, 999, 1000, 4_147_456_000)] == [
        "0 B",
        "999 B",
        "1 kB",
        "4.15 GB",
    ]
    assert [seconds(n) for n in (0.4386, 46.0, 123.4, 12_345.6)] == [
        "0.439",
        "46.0",
        "123",
        "12,346",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([], 2, "required"),
        (["{log}"], 2, "-o"),
        (["{log}", "--nonsense", "-o", "{out}"], 2, "--nonsense"),
        (["{dir}/missing", "-o", "{out}"], 2, "no such file"),
        (["{log}", "-o", "{text}"], 2, "is a file"),
        (["{log}", "{text}", "-o", "{out}"], 3, "not an HDF5 file"),
        (["{text}", "--skip-bad", "-o", "{out}"], 3, "not an HDF5 file"),
        (["{log}", "-o", "{dir}/a"], 2, "the folder of a run (it holds log.h5)"),
        (["{log}", "-o", "{text}/below"], 5, "cannot write"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(
    make_log: MakeLog,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    arguments: list[str],
    code: int,
    text: str,
) -> None:
    log = make_log("a")
    text_file = tmp_path / "note.txt"
    text_file.write_text("no log")
    places = {"log": log, "dir": tmp_path, "text": text_file, "out": tmp_path / "out"}
    before = sorted(tmp_path.rglob("*"))
    assert main([argument.format(**places) for argument in arguments]) == code
    lines = capsys.readouterr().err.splitlines()
    assert text in lines[-1]
    assert len(lines) == (2 if "--skip-bad" in arguments else 1)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_report_takes_the_place_of_an_earlier_one(make_log: MakeLog, tmp_path: Path) -> None:
    """Of one problem, then of two: what the first one alone had is gone, what is not its is not."""
    out = tmp_path / "out"
    first, other = make_log("a"), make_log("b", config_of(problem={"kind": "quadratic"}))
    assert main([str(first), "-o", str(out)]) == 0
    (out / "notes.png").write_text("the user's own")
    (tmp_path / "keep.png").write_text("elsewhere")
    with (out / ".sobaya-report").open("a") as file:
        file.write("../keep.png\nreport\n")
    assert main([str(first), str(other), "-o", str(out)]) == 0
    names = {path.name for path in out.glob("*.png")}
    mnist = "overview-hyper-representation-mnist-small.png"
    assert names == {"notes.png", mnist, "overview-quadratic.png"}
    assert (tmp_path / "keep.png").exists()


def test_a_run_and_its_copy_are_one_sample(
    make_log: MakeLog, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The one that got furthest counts; another seed is another sample, a name is not."""
    part = make_log("part", config_of(), n_rows=5)
    first, again = make_log("first", config_of()), make_log("again", config_of(name="again"))
    other = make_log("other", config_of(seed=2))
    out = tmp_path / "out"
    assert main([*map(str, (part, first, again, other)), "-o", str(out)]) == 0
    said = capsys.readouterr()
    assert "2 runs in 1 groups" in said.out
    lines = said.err.splitlines()
    assert [str(log) in line for log, line in zip((part, again), lines, strict=True)] == [True] * 2
    assert all(f"same config and seed as {first}, so no second sample" in line for line in lines)
    rows = (out / "summary.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == [str(first), str(other)]


def test_skip_bad(make_log: MakeLog, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    make_log("sweep/good")
    make_log("sweep/started", n_rows=0)
    out = tmp_path / "out"
    assert main([str(tmp_path / "sweep"), "-o", str(out), "--skip-bad"]) == 0
    assert "skipped: " in capsys.readouterr().err
    assert len((out / "summary.csv").read_text().splitlines()) == 2
