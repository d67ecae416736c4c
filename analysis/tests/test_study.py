"""Studies: reading, the sweep files made from them, tuning, the page and the index."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sobaya_analysis.errors import StudyError, UsageError
from sobaya_analysis.study import publish
from sobaya_analysis.study.__main__ import main
from sobaya_analysis.study.entries import label_of, read_entries
from sobaya_analysis.study.model import read_study
from sobaya_analysis.study.page import escaped
from sobaya_analysis.study.sweeps import Trial, data_files, final_sweep, tuning_sweep

from .conftest import PROGRAM, needs_program
from .studies import ALPHAS, EF, content, members_of, study_of, tuned_logs, write
from .sweeps import BASE, evaluated, uploaded, write_sweep

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = sorted(p for p in (ROOT / "configs").glob("*/*.json") if '"final"' in p.read_text())
SWEEP_KEYS = {"name", "base", "set", "list", "grid", "ranks"}


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_committed_studies_make_sweeps(path: Path) -> None:
    study = read_study(path)
    for sweep in (tuning_sweep(study), final_sweep(study)):
        assert sweep is None or set(sweep) <= SWEEP_KEYS


def example_of_the_page(tmp_path: Path) -> Path:
    """The study of docs/studies.md as it stands there, in a folder beside that of its base."""
    text = (ROOT / "docs" / "studies.md").read_text()
    (example,) = re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    path = tmp_path / "configs" / "studies" / "example.json"
    path.parent.mkdir(parents=True)
    path.write_text(example)
    shutil.copy(ROOT / "configs" / "mnist.json", path.parents[1])
    assert main(["plan", str(path), "-o", str(tmp_path / "plan")]) == 0
    return tmp_path / "plan"


def test_the_example_of_the_page_can_be_planned(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    plan = example_of_the_page(tmp_path)
    assert capsys.readouterr().out == "yes\nmnist\n"
    assert {path.name for path in plan.iterdir()} == {"tune.json", "final.json"}


@needs_program
@pytest.mark.parametrize(("sweep", "members"), [("tune", 27), ("final", 45)])
def test_the_program_takes_the_example_of_the_page(
    tmp_path: Path, sweep: str, members: int
) -> None:
    file = example_of_the_page(tmp_path) / f"{sweep}.json"
    status = subprocess.run(
        [PROGRAM, "sweep", file, "--out", tmp_path / "out", "status"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert status.returncode == 0, status.stderr
    assert f"{members} members" in status.stdout


def test_sweep_files_have_what_sobaya_reads(tmp_path: Path) -> None:
    study = study_of(
        tmp_path, grid={"compressor.ratio": [0.1, 0.5]}, final={"set": {"iterations": 9}}
    )
    tuning, final = tuning_sweep(study), final_sweep(study)
    assert tuning is not None
    assert set(tuning) == set(final) == SWEEP_KEYS
    assert (tuning["name"], final["name"]) == ("two-tune", "two")
    assert tuning["base"] == BASE
    assert tuning["set"] == {"iterations": 100, "seed": 7}
    assert tuning["list"] == [{"algorithm.kind": "soba"}, EF], "labels are the report's"
    assert tuning["grid"] == {"compressor.ratio": [0.1, 0.5], "algorithm.alpha": ALPHAS}
    assert final["set"] == {"iterations": 9}
    assert final["grid"] == {"compressor.ratio": [0.1, 0.5], "algorithm.alpha": [0.1]}, "a preview"


def test_final_stage_stands_above_the_methods(tmp_path: Path) -> None:
    study = study_of(
        tmp_path,
        list=[{**EF, "workers": 3}],
        tune={"grid": {"algorithm.beta, algorithm.gamma": [0.1], "algorithm.alpha": ALPHAS}},
        final={"set": {"algorithm.gamma": 1}, "grid": {"workers": [1, 4], "compressor": [1]}},
    )
    chosen = {**EF, "workers": 3, "algorithm.alpha": 0.3, "algorithm.beta": 0.1}
    chosen["algorithm.gamma"] = 0.1
    final = final_sweep(study, [chosen, chosen])
    assert final["list"] == [
        {"algorithm.kind": "ef-soba", "algorithm.alpha": 0.3, "algorithm.beta": 0.1}
    ]
    assert final["grid"] == {"workers": [1, 4], "compressor": [1]}
    assert "compressor.ratio" not in final_sweep(study, [{"compressor.ratio": 1}])["list"][0]


def test_entries_take_over_from_others(tmp_path: Path) -> None:
    items = [
        {"name": "a", "label": "A", "compressor": {"x": 1}, "compressor.y": 2, "workers": 3},
        {"name": "b", "label": "B", "like": "a", "compressor.x": 2},
        {"name": "c", "label": "C", "like": "b", "compressor": {"x": 3}},
    ]
    a, b, c = read_entries(tmp_path, items)
    assert b.settings == {
        "compressor": {"x": 1},
        "compressor.y": 2,
        "workers": 3,
        "compressor.x": 2,
    }
    assert c.settings == {"workers": 3, "compressor": {"x": 3}}, "keys within it are gone"
    for entry in (a, b, c):
        assert label_of((a, b, c), {**entry.settings, "seed": 1}) == entry.label
    assert label_of((a, b, c), {"seed": 1}) == ""


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("{", "no JSON"),
        ('{"title": "a", "title": "b"}', "title stands twice"),
        ("[]", "must hold an object"),
        (content(more=1), "unknown key more"),
        ({"title": "a", "base": "base.json"}, "no key final"),
        (content(title="a\nb"), "one line"),
        (content(base="none.json"), "No such file"),
        (content(text=[1]), "a paragraph"),
        (content(list=[]), "not empty"),
        (content(list=[{"name": "../x"}]), "is no name"),
        (content(list=[{"name": "x"}, {"name": "x"}]), "x stands twice"),
        (content(list=[{"name": "x", "like": "y"}]), "no earlier entry"),
        (content(list=[{"label": "l" * 73}]), "at most 72"),
        (content(grid={"workers": 3}), "list of values"),
        (content(ranks=0), "1 or more"),
        (content(tune={}), "tune has no key grid"),
        (content(tune={"grid": {"a": [1]}, "measure": "speed"}), "none of test_accuracy"),
        (content(tune={"grid": {"seed": [1, 2]}}), "one seed"),
        (content(tune={"grid": {"x, algorithm.kind": [1]}}), "algorithm.kind stands in list"),
        (content(list=[{"seed": 1}]), "final.grid"),
        (content(report={"y": 1}), "unknown key y"),
        (content(report={"target": {}}), "report.target"),
        (content(report={"measure": "hypergradient-norm"}), "report: argument --measure: invalid"),
        (content(report={"measure": "objective"}), "report: argument --measure: invalid"),
        (content(report={"target": "a lot"}), "'a lot' is no number"),
        (content(report={"target": "three=0.9"}), "the sweep is named two"),
        (content(report={"margin": -1}), "report: --margin -1.0"),
        (content(report={"margin": "x"}), "argument --margin: invalid float"),
        (content(report={"x": ["compressor.ratio", "workers"]}), "report.x: workers is set in"),
        (content(report={"rows": "algorithm.alpha"}), "report.rows: algorithm.alpha is set in"),
    ],
)
def test_bad_studies_are_refused(tmp_path: Path, written: object, problem: str) -> None:
    with pytest.raises(StudyError, match=problem):
        read_study(write(tmp_path, written))


def test_trial_is_smaller(tmp_path: Path) -> None:
    methods = [{"name": "a"}, {"name": "b", **EF}]
    study = study_of(tmp_path, list=methods, set={"problem.dataset": "mnist"})
    assert data_files(final_sweep(study)) == {"mnist"}
    trial = Trial((5,), ("b",), 20, "mnist-small", ends_only=True).of(study)
    tuning, final = tuning_sweep(trial), final_sweep(trial)
    assert tuning is not None
    assert tuning["grid"] == {"algorithm.alpha": [0.1, 1.0]}
    assert tuning["list"] == final["list"] == [EF]
    small = {"iterations": 20, "evaluate.every": 2, "problem.dataset": "mnist-small"}
    assert tuning["set"] == {"seed": 7, **small}
    assert final["set"] == small
    assert final["grid"]["seed"] == [5]
    assert data_files(final) == set()
    assert final_sweep(Trial().of(study)) == final_sweep(study)
    many = study_of(tmp_path, set={"problem.dataset": "mnist", "problem.samples": 9000})
    sweep = final_sweep(Trial(dataset="mnist-small").of(many))
    assert sweep["set"]["problem.samples"] == 6000
    longer = study_of(tmp_path, list=[{**EF, "iterations": 5, "log.every": 1}])
    assert final_sweep(Trial(iterations=20).of(longer))["list"] == [EF]
    with pytest.raises(UsageError, match="there are: a, b"):
        Trial(methods=("c",)).of(study)


def test_data_are_known_before_the_runs(tmp_path: Path) -> None:
    files = {"format": "svmlight", "train": "libsvm/a.gz", "test": "libsvm/b.gz", "features": 3}
    base = BASE | {"problem": {"kind": "regularization-selection", "dataset": files}}
    study = study_of(tmp_path, base=base, grid={"problem": [{"dataset": "fashion-mnist"}]})
    assert study.base == base
    found = data_files(final_sweep(study))
    assert found == {"libsvm/a.gz", "libsvm/b.gz", "fashion-mnist"}


def final_logs(config: dict[str, Any]) -> dict[str, Any]:
    """ef-soba uploads a tenth and loses half a point."""
    full = 0.8 + 0.01 * config["seed"]
    is_soba = config["algorithm"]["kind"] == "soba"
    level = full if is_soba else full - 0.005
    columns = evaluated(test_accuracy=level * np.minimum(np.arange(11) / 5, 1))
    return columns | uploaded(10_000 if is_soba else 1_000)


def published(tmp_path: Path) -> tuple[list[str], Path]:
    """Arguments of a report over made-up sweeps, and the folder of its page."""
    path = write(tmp_path, content(text=["First.", "Second_one."]))
    write_sweep(tmp_path / "tuned", members_of(), tuned_logs)
    members = [
        {**method, "seed": seed}
        for method in (
            {"algorithm.kind": "soba", "algorithm.alpha": 0.3},
            {**EF, "algorithm.alpha": 0.1},
        )
        for seed in (1, 2, 3)
    ]
    write_sweep(tmp_path / "final", members, final_logs, name="two")
    out = tmp_path / "results"
    arguments = ["report", str(path), str(tmp_path / "final"), "--tuned", str(tmp_path / "tuned")]
    return [*arguments, "-o", str(out), "--made-by", "jobs/study.sh paper two"], out


def test_page_has_the_numbers(tmp_path: Path) -> None:
    arguments, out = published(tmp_path)
    assert main(arguments) == 0
    text = (out / "two.md").read_text()
    for line in (
        "# Two methods",
        "    jobs/study.sh paper two",
        "First.",
        "| soba | 0.3 | 0.8 | 3 |",
        "| with feedback | 0.1 \N{DAGGER} | 0.71 | 3, 1 diverged |",
        "| soba | 82.00 [81.40, 82.60] | 0.00 | 10 kB | 1 | 100 % | 3 |",
        "| with feedback | 81.50 [80.90, 82.10] | 0.50 | 1 kB | 10 | 10 % | 3 |",
        "![test accuracy [%] against bytes](two/tradeoff.png)",
    ):
        assert line in text.splitlines(), line
    for words in ("../two.json", "6 runs, seeds 1, 2, 3, after 6 runs for tuning", "git abcdef0"):
        assert words in text.replace("\n", " ")
    assert "(algorithm.alpha in 0.1, 0.3, 1) with seed 7, and" in text.replace("\n", " ")
    assert "(mean of the last 5 values): chosen by test data." in text.replace("\n", " ")
    files = {path.name for path in (out / "two").iterdir()}
    assert {"final.json", "steps.csv", "groups.csv", "summary.csv", "report.html"} <= files
    assert all(f"two/{name}" in text for name in files if name.endswith((".csv", ".json")))
    final = json.loads((out / "two" / "final.json").read_text())
    assert [entry["algorithm.alpha"] for entry in final["list"]] == [0.3, 0.1]
    with (out / "two" / "steps.csv").open() as file:
        steps = list(csv.DictReader(file))
    assert [(row["method"], row["at_border"]) for row in steps] == [
        ("soba", ""),
        ("with feedback", "algorithm.alpha"),
    ]
    first = (out / "two" / "tradeoff.svg").read_bytes()
    assert main(arguments) == 0
    assert (out / "two" / "tradeoff.svg").read_bytes() == first, "same bytes"
    assert "stability" not in text.lower(), "tuned step sizes are no axis of the final sweep"


@pytest.mark.parametrize(
    ("bad", "state"),
    [
        (None, "missing"),
        ({"status": "running"}, "running"),
        ({"status": "failed", "stop_reason": "disk full"}, "failed"),
    ],
)
def test_no_seed_is_dropped_unsaid(
    tmp_path: Path, capsys: pytest.CaptureFixture, bad: dict[str, Any] | None, state: str
) -> None:
    arguments, out = published(tmp_path)
    listed = json.loads((tmp_path / "final" / "sweep.json").read_text())["members"]
    shutil.rmtree(tmp_path / "final")

    def behaviour(config: dict[str, Any]) -> dict[str, Any] | None:
        if config["seed"] != 2:
            return final_logs(config)
        return None if bad is None else final_logs(config) | bad

    write_sweep(tmp_path / "final", [one["settings"] for one in listed], behaviour, name="two")
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"is {state}" in line
    assert "--skip-bad" in line
    assert not out.exists()
    assert main([*arguments, "--skip-bad"]) == 0
    text = (out / "two.md").read_text().replace("\n", " ")
    assert f"Without those that did not end: 2 {state}." in text
    assert "| 2 of 3 |" in text


def test_a_run_that_diverged_is_a_result(tmp_path: Path) -> None:
    arguments, out = published(tmp_path)
    listed = json.loads((tmp_path / "final" / "sweep.json").read_text())["members"]
    shutil.rmtree(tmp_path / "final")
    lost = {"status": "failed", "stop_reason": "x is not a number"}
    write_sweep(
        tmp_path / "final",
        [one["settings"] for one in listed],
        lambda config: final_logs(config) | (lost if config["seed"] == 2 else {}),
    )
    assert main(arguments) == 0
    assert "did not end" not in (out / "two.md").read_text()


def test_index_tells_what_was_saved(tmp_path: Path) -> None:
    arguments, out = published(tmp_path)
    other = write(tmp_path / "else", content())
    other = other.rename(other.with_name("not-run.json"))
    assert main(arguments) == 0
    studies = [str(tmp_path / "two.json"), str(other)]
    assert main(["index", "Results", *studies, "-o", str(out)]) == 0
    text = (tmp_path / "results.md").read_text()
    assert "| [Two methods](results/two.md) | with feedback | 10 | 0.50 |" in text
    assert text.count("](") == 1, "what has no page is not listed"


def test_large_reports_leave_out_what_is_there_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, out = published(tmp_path)
    (out / "two").mkdir(parents=True)
    (out / "two" / "report.html").write_text("of an earlier report")
    monkeypatch.setattr(publish, "LARGEST", 200_000)
    assert main(arguments) == 0
    names = {path.name for path in (out / "two").iterdir()}
    assert "report.html" not in names
    assert "too large" in (out / "two.md").read_text().replace("\n", " ")
    assert (tmp_path / "final" / "report" / "report.html").exists()
    files = {"report.html": b"1", "a.svg": b"2" * 9, "a.png": b"3" * 200_000, "b.png": b"4" * 9}
    assert publish.fitting(files, ["b"]) == {"a.png": files["a.png"]}
    assert publish.fitting({"b.png": b"4"}, ["b"]) == {"b.png": b"4"}


def test_errors_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments, out = published(tmp_path)
    shutil.rmtree(tmp_path / "final")
    assert main(arguments) == 2
    assert "sweep.json" in capsys.readouterr().err
    assert not out.exists()
    path = write(tmp_path, content(report={"measure": "speed"}))
    assert main(["plan", str(path), "-o", str(out)]) == 2
    assert f"{path}: report: argument --measure" in capsys.readouterr().err
    assert not out.exists(), "said before anything is run"
    write(tmp_path, content(report={"x": "compressor.ratio"}))
    write_sweep(tmp_path / "final", [{"algorithm.kind": "soba"}], _plain)
    assert main(arguments) == 2
    assert f"{path}: report: --x compressor.ratio: no axis" in capsys.readouterr().err


def _plain(_config: dict[str, Any]) -> dict[str, Any]:
    return evaluated(test_accuracy=0.9)


def test_plan_and_tune_write_the_sweeps(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = write(tmp_path, content())
    out = tmp_path / "plan"
    assert main(["plan", str(path), "-o", str(out)]) == 0
    assert capsys.readouterr().out == "yes\n"
    assert {file.name for file in out.iterdir()} == {"tune.json", "final.json"}
    write_sweep(tmp_path / "tuned", members_of(), tuned_logs)
    assert main(["tune", str(path), str(tmp_path / "tuned"), "-o", str(out)]) == 0
    assert "with feedback: algorithm.alpha 0.1 (border)" in capsys.readouterr().out
    final = json.loads((out / "final.json").read_text())
    assert final["list"][1] == {**EF, "algorithm.alpha": 0.1}
    plain = {key: value for key, value in content().items() if key != "tune"}
    (tmp_path / "base.json").write_text(json.dumps(BASE | {"problem": {"dataset": "mnist"}}))
    path.write_text(json.dumps(plain))
    assert main(["plan", str(path), "-o", str(out)]) == 0
    assert capsys.readouterr().out == "no\nmnist\n"


def test_text_has_no_marks() -> None:
    assert escaped("y*(x) | `a` <b>") == "y\\*(x) \\| \\`a\\` \\<b>"
