"""Studies: reading, planning, results paired by seed, the page and the picture."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from sobaya_analysis.errors import ReportError, StudyError
from sobaya_analysis.study.__main__ import main
from sobaya_analysis.study.figure import draw, floor_of, legend_text, tradeoff
from sobaya_analysis.study.model import plan_line, planned_runs, read_base, read_study
from sobaya_analysis.study.results import DIVERGED, Spread, load_results, spread

from .conftest import MakeLog, config_of

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = sorted((ROOT / "configs" / "studies").glob("*.json"))


def study_of(**more: Any) -> dict[str, Any]:  # noqa: ANN401
    base = {
        "title": "Two methods",
        "base": "base.json",
        "seeds": [1, 2, 3],
        "reference": "soba",
        "set": {"algorithm.alpha": 0.3},
        "methods": [
            {"name": "soba", "label": "soba"},
            {"name": "ef", "label": "ef-soba: top-1 %", "set": {"algorithm.kind": "ef-soba"}},
        ],
    }
    return base | more


def write(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "two.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    (tmp_path / "base.json").write_text(json.dumps(config_of("soba")))
    return path


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_studies_can_be_planned(path: Path) -> None:
    study = read_study(path)
    base = read_base(ROOT, study)
    runs = planned_runs(study, {})
    assert len(runs) == len(study.methods) * len(study.seeds)
    assert all(plan_line(study, base, run).count("\n") == 0 for run in runs)


def test_plan_puts_the_last_word_last(tmp_path: Path) -> None:
    methods = [
        {"name": "soba", "label": "soba", "set": {"compressor": {"x": 1}, "iterations": 3}},
        {"name": "b", "label": "b", "like": "soba", "set": {"compressor.x": 2, "workers": 5}},
        {"name": "c", "label": "c", "like": "b", "set": {"compressor": {"x": 3}}},
    ]
    study = read_study(write(tmp_path, study_of(methods=methods, seeds=[7])))
    runs = planned_runs(study, {"iterations": 9})
    assert [run.name for run in runs] == ["soba-s7", "b-s7", "c-s7"]
    assert list(runs[1].settings.items()) == [
        ("algorithm.alpha", 0.3),
        ("compressor", {"x": 1}),
        ("compressor.x", 2),
        ("workers", 5),
        ("seed", 7),
        ("name", "two-b-s7"),
        ("iterations", 9),
    ]
    assert list(runs[2].settings)[1:4] == ["compressor.x", "workers", "compressor"]
    line = plan_line(study, read_base(tmp_path, study), runs[1]).split("\t")
    assert line[:4] == ["b-s7", "base.json", "5", "mnist-small"]
    assert 'compressor={"x":1}' in line


def test_plan_command_takes_a_part(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = write(tmp_path, study_of())
    options = ["--seeds", "4", "--methods", "ef", "--root", str(tmp_path), "--dataset", "mnist"]
    assert main(["plan", str(path), *options]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split("\t")[:4] == ["ef-s4", "base.json", "4", "mnist"]
    assert main(["plan", str(path), "--methods", "fe"]) == 2
    assert "no method fe; there are soba, ef" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "no JSON"),
        ('{"title": "a", "title": "b"}', "title stands twice"),
        ([], "must be an object"),
        (study_of(more=1), "unknown key more"),
        ({"title": "a"}, "no key base"),
        (study_of(title="a\nb"), "one line"),
        (study_of(seeds=[]), "not empty"),
        (study_of(seeds=[1, True]), "whole numbers"),
        (study_of(seeds=[1, 1]), "seed 1 stands twice"),
        (study_of(reference="ef21"), "no name of a method"),
        (study_of(methods=[{"name": "../x", "label": "x"}]), "is no name"),
        (study_of(methods=[{"name": "x", "label": "x", "like": "y"}]), "no earlier method"),
        (study_of(methods=[{"name": "x", "label": "x", "set": {"seed": 1}}]), "the key 'seed'"),
        (study_of(methods=[{"name": "x", "label": "x", "set": {"a=b": 1}}]), "the key 'a=b'"),
    ],
)
def test_bad_studies_are_refused(tmp_path: Path, content: object, problem: str) -> None:
    with pytest.raises(StudyError, match=problem):
        read_study(write(tmp_path, content))


def test_state_of_a_run(tmp_path: Path) -> None:
    config = config_of("soba")
    printed = json.dumps(config) + "\np = 5\n"

    def state(dataset: str = "mnist-small") -> int:
        return main(["state", str(tmp_path), printed, dataset])

    assert state() == 10
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "summary.json").write_text('{"status": "failed"}')
    assert state() == 10
    (tmp_path / "summary.json").write_text('{"status": "completed"}')
    assert state() == 0
    assert state("-") == 0
    assert state("mnist") == 11, "another data set is another config"


def test_spread_counts_divergence() -> None:
    assert spread([None]) is None
    assert spread([3.0, None, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert spread([95.0, DIVERGED, 96.0]) == Spread(95.0, DIVERGED, 96.0)
    assert spread([DIVERGED, 96.0]) == Spread(DIVERGED, DIVERGED, 96.0)


def logs_of(make_log: MakeLog) -> None:
    """Runs of soba and ef with seeds 1 to 3; ef uploads a tenth and loses 1, 2 and 4 points."""
    for seed, (full, lost) in enumerate(((0.9, 0.01), (0.7, 0.02), (0.8, 0.04)), start=1):
        for name, kind, accuracy, upload in (
            ("soba", "soba", full, 1000),
            ("ef", "ef-soba", full - lost, 100),
        ):
            replace = {"test_accuracy": np.full(6, accuracy)}
            config = config_of(kind, seed, iterations=10)
            make_log(f"runs/{name}-s{seed}", config, upload=upload, replace=replace)


def test_results_are_paired_by_seed(make_log: MakeLog, tmp_path: Path) -> None:
    logs_of(make_log)
    study = read_study(write(tmp_path, study_of()))
    soba, ef = load_results(study, tmp_path / "runs")
    assert soba.lost == Spread(0.0, 0.0, 0.0)
    assert ef.lost is not None
    assert (ef.lost.low, ef.lost.median, ef.lost.high) == pytest.approx((1.0, 2.0, 4.0))
    assert ef.accuracy is not None
    assert ef.accuracy.median == pytest.approx(76.0)
    assert (ef.upload, ef.download, ef.total) == (1000, 2000, 3000)
    assert (ef.times_less_up, ef.times_less_down) == pytest.approx((10.0, 10.0))
    assert (ef.family, ef.completed) == ("ef-soba", 3)
    (alone,) = load_results(study.selected([2], ["ef"]), tmp_path / "runs")
    assert alone.lost is None
    assert math.isnan(alone.times_less_up)


def test_divergence_is_counted(make_log: MakeLog, tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        make_log(f"runs/soba-s{seed}", config_of("soba", seed, iterations=10))
        failed = {"attributes": {"status": "failed"}, "n_rows": 6} if seed > 1 else {}
        make_log(f"runs/ef-s{seed}", config_of("ef-soba", seed, iterations=10), **failed)
    study = read_study(write(tmp_path, study_of()))
    ef = load_results(study, tmp_path / "runs")[1]
    assert ef.accuracy is not None
    assert ef.accuracy.median == DIVERGED
    assert (ef.completed, ef.upload) == (1, 10_000), "at the rate of the part that was run"
    assert "2 of 3 diverged" in legend_text(ef, 50.0)
    assert main(report_arguments(study.path, tmp_path)) == 0
    text = (tmp_path / "out" / "two.md").read_text()
    assert "| diverged (diverged to 53.00) | diverged (0.00 to diverged) |" in text
    assert "| 1 of 3 completed |" in text


def report_arguments(path: Path, tmp_path: Path) -> list[str]:
    runs, out = str(tmp_path / "runs"), str(tmp_path / "out")
    return ["report", str(path), runs, "-o", out, "--made-by", "jobs/results.sh two"]


def test_report_makes_the_page(make_log: MakeLog, tmp_path: Path) -> None:
    logs_of(make_log)
    arguments = report_arguments(write(tmp_path, study_of()), tmp_path)
    assert main(arguments) == 0
    text = (tmp_path / "out" / "two.md").read_text()
    row = (
        "| ef-soba: top-1 % | 76.00 (68.00 to 89.00) | 2.00 (1.00 to 4.00) | 1,000 | 10 | 10 | 3 |"
    )
    assert row in text
    assert "    jobs/results.sh two\n" in text
    assert max(map(len, text.splitlines())) < 125
    folder = tmp_path / "out" / "two"
    names = {"report.html", "summary.csv", "tradeoff.png", "tradeoff.svg"}
    assert names <= {path.name for path in folder.iterdir()}
    assert "ef-soba: top-1 %" in (folder / "report.html").read_text(), "labels are the study's"
    first = (folder / "tradeoff.svg").read_bytes()
    assert main(arguments) == 0
    assert (folder / "tradeoff.svg").read_bytes() == first, "same bytes"


def test_report_without_runs_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(ReportError):
        load_results(read_study(write(tmp_path, study_of())), tmp_path)
    assert main(report_arguments(tmp_path / "two.json", tmp_path)) == 3
    assert "soba-s1" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_picture_holds_many_methods_without_overlap(make_log: MakeLog, tmp_path: Path) -> None:
    """Nothing leaves the canvas, and no text of the legend or of an axis covers another."""
    methods = [{"name": "soba", "label": "soba"}]
    make_log("runs/soba-s1", config_of("soba", iterations=10), upload=10**6)
    for index in range(15):
        name = f"m{index}"
        label = f"c-soba, residual: x top-0.{index} % 4-bit; y, z top-10 % 4-bit; down 1-bit"
        methods.append({"name": name, "label": label})
        accuracy = 0.3 if index == 3 else 0.53 - 0.002 * index
        make_log(
            f"runs/{name}-s1",
            config_of("c-soba", iterations=10, feedback={"kind": f"kind{index // 4}"}),
            upload=10**6 // (3**index // 2000 + 1 + index),
            replace={"test_accuracy": np.full(6, accuracy)},
        )
    study = read_study(write(tmp_path, study_of(methods=methods, seeds=[1])))
    results = load_results(study, tmp_path / "runs")
    floor = floor_of(results, "soba")
    assert floor == pytest.approx(49.5)
    assert legend_text(results[4], floor).replace("\n", " ").endswith("(30.0 %, below the axis)")
    figure = draw(results, "soba")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    (legend,) = figure.legends
    boxes = [text.get_window_extent(renderer) for text in legend.get_texts()]
    # The axes of the upper edge stand on those of the panels.
    boxes += [axes.get_window_extent(renderer) for axes in figure.axes[:2]]
    for axes in figure.axes:
        ticks = [
            tick.label1 if tick.label1.get_visible() else tick.label2
            for tick in axes.xaxis.get_major_ticks()
        ]
        boxes += [label.get_window_extent(renderer) for label in ticks if label.get_text()]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    bounds = figure.get_tightbbox(renderer)
    width, height = figure.get_size_inches()
    assert bounds.x0 >= 0
    assert bounds.y0 >= 0
    assert bounds.x1 <= width
    assert bounds.y1 <= height


def test_no_picture_without_accuracies(make_log: MakeLog, tmp_path: Path) -> None:
    for name in ("soba", "ef"):
        replace = {"test_accuracy": np.full(6, np.nan)}
        make_log(f"runs/{name}-s1", config_of("soba"), replace=replace)
    study = read_study(write(tmp_path, study_of(seeds=[1])))
    results = load_results(study, tmp_path / "runs")
    assert tradeoff(results, "soba") is None
    assert main([*report_arguments(study.path, tmp_path), "--seeds", "1"]) == 0
    assert "tradeoff" not in (tmp_path / "out" / "two.md").read_text()
