"""The report over sweeps as a user sees it: files, page, tables, errors."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sobaya_analysis.__main__ import main
from sobaya_analysis.theme import ALGORITHM_COLOURS, algorithm_style

from .sweeps import EVALUATIONS, evaluated, uploaded, write_sweep
from .test_report import NASTY, page_of
from .test_sweep_model import grid

RATIOS = [{"kind": "rand-k", "ratio": 0.1}, {"kind": "rand-k", "ratio": 0.5}]


def training(config: dict[str, Any]) -> dict[str, Any]:
    """Runs that train up to a step size of 0.3, the better the less they compress."""
    ratio = config.get("compressor", {}).get("ratio", 1.0)
    top = 0.9 + 0.05 * ratio + 0.001 * config["seed"]
    columns = evaluated(
        test_accuracy=top * np.minimum(EVALUATIONS / 50, 1),
        hypergradient_norm=(1 + config["seed"]) / np.sqrt(config["workers"]),
    )
    if config["algorithm"]["alpha"] > 0.3:
        columns |= {"status": "failed", "stop_reason": "x is not a number"}
    return columns | uploaded(int(10_000 * ratio))


def full_grid() -> list[dict[str, Any]]:
    """soba, and ef-soba at two ratios, with step sizes, workers and seeds."""
    rest = {"algorithm__alpha": [0.1, 0.3, 1.0], "workers": [1, 4], "seed": [1, 2, 3]}
    return grid(algorithm__kind=["soba"], **rest) + grid(
        algorithm__kind=["ef-soba"], compressor=RATIOS, **rest
    )


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def test_files_of_a_full_report(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = write_sweep(tmp_path / "sweep", full_grid(), training)
    out = tmp_path / "out"
    assert main(["sweep", str(folder), "-o", str(out)]) == 0
    assert "54 runs in 18 groups" in capsys.readouterr().out
    pictures = {path.stem for path in out.glob("*.png")}
    assert pictures == {path.stem for path in out.glob("*.svg")}
    assert {name for name in pictures if not name.startswith(("learning", "against"))} == {
        "bytes-to-target",
        "equal-bytes",
        "heatmap",
        "speed-up",
        "stability",
        "time",
        "tradeoff-1",
        "tradeoff-2",
    }
    assert "against-compressor-ratio-test-accuracy" in pictures
    text = (out / "report.html").read_text(encoding="utf-8")
    page = page_of(text)
    assert page.open == []
    assert all(load.startswith("data:image/png;base64,") for load in page.loads)
    assert len(page.loads) == len(pictures)
    for title in ("Traffic", "Stability", "Speed-up with workers", "Bytes to a target"):
        assert f"<h3>{title}</h3>" in text
    assert "18 runs not completed" in text


def test_the_folder_of_a_sweep_holds_no_report(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = write_sweep(tmp_path / "sweep", full_grid()[:1], training)
    (folder / "summary.csv").write_text("hash\n")
    for arguments in (["sweep", str(folder)], [str(folder)]):
        assert main([*arguments, "-o", str(folder)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{folder}: is the folder of a sweep" in line
        assert f"such as {folder / 'report'}" in line
        assert (folder / "summary.csv").read_text() == "hash\n"


def test_a_report_of_another_kind_takes_the_place_of_the_first(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "sweep", full_grid(), training)
    out = tmp_path / "out"
    assert main(["sweep", str(folder), "-o", str(out)]) == 0
    assert (out / "groups.csv").exists()
    assert main([str(folder), "-o", str(out)]) == 0
    names = {path.name for path in out.iterdir()}
    kept = {"overview.png", "overview.svg", "report.html", "summary.csv"}
    assert names == {".sobaya-report", *kept}


@pytest.mark.parametrize("steps", [[1.0, 3.0], [0.1, 1.0, 3.0]])
@pytest.mark.parametrize("status", ["failed", "completed"])
def test_runs_that_diverged_have_a_page(tmp_path: Path, steps: list[float], status: str) -> None:
    """All members, or those with large steps, up to the largest doubles."""

    def behaviour(config: dict[str, Any]) -> dict[str, Any]:
        if config["algorithm"]["alpha"] < 1:
            return evaluated(hypergradient_norm=1 / (1 + EVALUATIONS)) | uploaded(1000)
        loss, norm = np.exp(np.linspace(0, 709, 101)), np.exp(np.linspace(0, 700, 11))
        state = {"status": status, "stop_reason": "x is not a number" * (status == "failed")}
        return evaluated(hypergradient_norm=norm) | uploaded(1000) | {"upper_loss": loss} | state

    members = grid(
        algorithm__kind=["soba", "ef-soba"], algorithm__alpha=steps, workers=[1, 4], seed=[1, 2]
    )
    folder = write_sweep(tmp_path / "sweep", members, behaviour)
    assert main(["sweep", str(folder), "-o", str(tmp_path / "out")]) == 0
    states = {row["state"] for row in rows_of(tmp_path / "out" / "summary.csv")}
    assert states == {"diverged"} | {"completed" for step in steps if step < 1}
    assert list((tmp_path / "out").glob("learning*.png"))


def test_tables_have_a_row_per_run_and_per_group(tmp_path: Path) -> None:
    def behaviour(config: dict[str, Any]) -> dict[str, Any] | None:
        return None if config["seed"] == 3 else training(config)

    members = grid(algorithm__kind=["soba"], seed=[1, 2, 3]) + grid(
        algorithm__kind=["ef-soba"], compressor=RATIOS[:1], seed=[1, 2, 3]
    )
    out = tmp_path / "out"
    assert (
        main(["sweep", str(write_sweep(tmp_path / "s", members, behaviour)), "-o", str(out)]) == 0
    )
    runs, groups = rows_of(out / "summary.csv"), rows_of(out / "groups.csv")
    assert [row["state"] for row in runs] == ["completed", "completed", "missing"] * 2
    assert [row["seed"] for row in runs] == ["1", "2", "3"] * 2
    assert float(runs[0]["final_test_accuracy"]) == pytest.approx(0.951)
    assert float(runs[0]["seconds_wait"]) == 0.05
    ef = groups[1]
    assert (ef["group"], ef["completed"], ef["missing"]) == ("ef-soba", "2", "1")
    assert float(ef["final_test_accuracy_median"]) == pytest.approx(0.9065)
    assert float(ef["lost_test_accuracy_median"]) == pytest.approx(0.045)
    assert float(ef["upload_ratio_to_soba"]) == pytest.approx(0.1)
    pictures = {path.stem for path in out.glob("*.png")}
    assert not pictures & {"heatmap", "stability", "speed-up"}, "no such axes"


def test_groups_are_compared_with_soba_at_its_best_step(tmp_path: Path) -> None:
    def behaviour(config: dict[str, Any]) -> dict[str, Any]:
        return evaluated(test_accuracy=0.9 - abs(config["algorithm"]["alpha"] - 0.2))

    members = grid(algorithm__kind=["soba", "ma-soba"], algorithm__alpha=[0.1, 0.2], seed=[1, 2])
    out = tmp_path / "out"
    assert (
        main(["sweep", str(write_sweep(tmp_path / "s", members, behaviour)), "-o", str(out)]) == 0
    )
    lost = [float(row["lost_test_accuracy_median"]) for row in rows_of(out / "groups.csv")]
    assert lost == pytest.approx([0.1, 0.0, 0.1, 0.0])


def test_several_sweeps_become_sections(tmp_path: Path) -> None:
    norm = {"hypergradient_norm": 0.5}
    one = write_sweep(tmp_path / "a", grid(seed=[1, 2]), training, name="Same Name")
    two = write_sweep(tmp_path / "b", grid(seed=[1]), lambda _: evaluated(**norm), name="Same Name")
    out = tmp_path / "out"
    target = ["--target", "0.5", "--target", "Same Name=0.9"]
    assert main(["sweep", str(one), str(two), "-o", str(out), *target]) == 0
    assert (out / "same-name-bytes-to-target.png").exists()
    assert (out / "same-name-2-learning.png").exists()
    assert (out / "report.html").read_text(encoding="utf-8").count("<section>") == 2
    assert len(rows_of(out / "summary.csv")) == 3


def test_a_sweep_that_has_not_begun(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "s", grid(seed=[1, 2]), lambda _: None)
    assert main(["sweep", str(folder), "-o", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "2 missing" in text
    assert "No run has recorded anything yet" in text
    assert not list((tmp_path / "out").glob("*.png"))


def test_every_run_lost(tmp_path: Path) -> None:
    def lost(config: dict[str, Any]) -> dict[str, Any]:
        return training(config) | {"status": "failed", "stop_reason": "x is not a number"}

    folder = write_sweep(tmp_path / "s", full_grid(), lost)
    assert main(["sweep", str(folder), "-o", str(tmp_path / "out")]) == 0
    groups = rows_of(tmp_path / "out" / "groups.csv")
    assert {row["final_test_accuracy_median"] for row in groups} == {str(-math.inf)}


def test_page_escapes_what_files_say(tmp_path: Path) -> None:
    def behaviour(config: dict[str, Any]) -> dict[str, Any]:
        return training(config) | {"status": "failed", "stop_reason": "<i>why</i>"}

    members = grid(algorithm__kind=["soba", NASTY.replace("\ud800", "")], seed=[1])
    folder = write_sweep(tmp_path / "s", members, behaviour, name="<b>x</b>/../..")
    out = tmp_path / "out"
    assert main(["sweep", str(folder), "-o", str(out)]) == 0
    page = page_of((out / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert not {"script", "b", "i"} & set(page.tags)
    assert all(path.parent == out for path in out.rglob("*"))


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["{dir}/missing"], 2, "give the folder of a sweep"),
        (["{sweep}", "--rows", "algorithm.beta"], 2, "--rows algorithm.beta: no axis"),
        (["{sweep}", "--x", "nothing"], 2, "there are: algorithm.alpha"),
        (["{sweep}", "--target", "high"], 2, "is no number"),
        (["{sweep}", "--target", "other=0.9"], 2, "no sweep is named other"),
        (["{sweep}", "--margin", "-1"], 2, "--margin"),
        (["{sweep}", "--measure", "speed"], 2, "--measure"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    arguments: list[str],
    code: int,
    text: str,
) -> None:
    folder = write_sweep(tmp_path / "s", grid(algorithm__alpha=[0.1, 0.2]), training)
    places = {"dir": tmp_path, "sweep": folder}
    before = sorted(tmp_path.rglob("*"))
    given = [argument.format(**places) for argument in arguments]
    assert main(["sweep", *given, "-o", str(tmp_path / "out")]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert text in line
    assert sorted(tmp_path.rglob("*")) == before


def test_algorithms_keep_their_colours() -> None:
    colours = {kind: algorithm_style(kind).colour for kind in ALGORITHM_COLOURS}
    assert len(set(colours.values())) == len(colours)
    assert algorithm_style("soba", 3).colour == colours["soba"]
    assert algorithm_style("a-users-own") == algorithm_style("a-users-own")
