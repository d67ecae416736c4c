"""The slow network's table of variants, its numbers and its page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sobaya_analysis.runs import load_run
from sobaya_analysis.slow_network import measure as measurement
from sobaya_analysis.slow_network.__main__ import ROOT, main
from sobaya_analysis.slow_network.measure import (
    RunsDifferError,
    directs,
    iteration_milliseconds,
    iterations_to,
    measure,
)
from sobaya_analysis.slow_network.page import markdown, numbers, verdict
from sobaya_analysis.slow_network.picture import picture
from sobaya_analysis.slow_network.variants import Table, Variant, read_table

from .conftest import MakeLog, config_of

N_ROWS = 101
ACCURACY = 0.5 + 0.02 * np.arange(21)
"""Of evaluations 5 iterations apart; the last five have the mean 0.86."""


def full_config(kind: str, **more: object) -> dict:
    config = config_of(kind, workers=4, iterations=100, evaluate={"every": 5}, **more)
    config["algorithm"] |= {"alpha": 0.1, "beta": 0.1, "gamma": 0.1}
    config["problem"]["batch_lower"] = 64
    config["partition"] = {"kind": "dirichlet", "concentration": 0.1}
    return config


def table() -> Table:
    fast = Variant("fast", "fast method", "compressed", "8-bit", full_config("c-soba"))
    dense = Variant("dense", "fast method", "dense", "8-bit", full_config("c-soba"))
    return Table(
        (
            Variant("star", "soba, star", None, None, full_config("soba")),
            Variant("floor", "floor", None, None, full_config("c-soba")),
            dense,
            fast,
        ),
        baseline="star",
        floor="floor",
    )


@pytest.fixture
def runs(make_log: MakeLog, tmp_path: Path) -> Path:
    """Runs of all variants: iterations of 500, 100, 200 and 10 ms over the slow network."""
    seconds = {"star": 0.5, "floor": 0.1, "dense": 0.2, "fast": 0.01}
    for variant in table().variants:
        wall = seconds[variant.name] * np.arange(41.0)
        # Evaluations at the start and the end are not part of an iteration.
        wall[0], wall[-1] = -7.0, wall[-1] + 9.0
        make_log(
            f"{variant.name}/short",
            variant.config,
            n_rows=41,
            eval_every=40,
            replace={"wall_time": wall, **losses(41)},
        )
        if variant.name != "floor":
            make_log(
                f"{variant.name}/local",
                variant.config,
                n_rows=N_ROWS,
                eval_every=5,
                replace={"test_accuracy": ACCURACY, **losses(N_ROWS)},
            )
    return tmp_path


def losses(n_rows: int) -> dict[str, np.ndarray]:
    loss = 1.0 / np.arange(1, n_rows + 1)
    loss[0] = np.nan
    return {"upper_loss": loss}


def test_target_is_reached_where_two_evaluations_in_a_row_are_above(make_log: MakeLog) -> None:
    accuracy = np.array([0.1, 0.9, 0.3, 0.8, 0.8, 0.1])
    replace = {"test_accuracy": accuracy}
    run = load_run(make_log("a", n_rows=11, eval_every=2, replace=replace))
    assert iterations_to(run, 0.8) == 6
    assert iterations_to(run, 0.1) == 0
    assert iterations_to(run, 0.85) is None


def test_times_leave_out_the_warm_up_and_evaluations(runs: Path) -> None:
    milliseconds = iteration_milliseconds(load_run(runs / "fast" / "short" / "log.h5"))
    assert len(milliseconds) == 29
    assert milliseconds == pytest.approx(np.full(29, 10.0))


def test_rows_combine_local_and_short_runs(runs: Path) -> None:
    found = measure(table(), runs)
    star, dense, fast = found.rows
    assert found.target == pytest.approx(0.85)
    # 0.86 is the first accuracy above, evaluation 18.
    assert [row.iterations for row in found.rows] == [90, 90, 90]
    assert star.seconds == pytest.approx(45.0)
    assert fast.seconds == pytest.approx(0.9)
    assert fast.upload_bytes == 90_000
    assert fast.download_bytes == 180_000
    assert dense.ceiling == pytest.approx(5.0)
    assert star.ceiling is None
    assert fast.ceiling is None
    assert found.best is fast
    assert found.fastest_soba is star


def test_only_quick_variants_are_run_to_the_target(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurement, "DIRECT_SECONDS", 30)
    assert directs(table(), runs) == [("dense", 90), ("fast", 90)]


def test_direct_run_is_timed_between_its_evaluations(runs: Path, make_log: MakeLog) -> None:
    wall = 3.0 + 0.02 * np.arange(92.0)
    wall[-1] += 9.0
    replace = {"wall_time": wall, **losses(92)}
    make_log("fast/direct", full_config("c-soba"), n_rows=92, eval_every=91, replace=replace)
    found = measure(table(), runs)
    assert found.rows[2].direct_seconds == pytest.approx(1.8)
    assert "By the longer time it is 25.0 times faster than soba, star" in verdict(found)


def test_runs_that_differ_in_a_bit_are_refused(runs: Path, make_log: MakeLog) -> None:
    replace = losses(92)
    replace["upper_loss"][50] *= 1 + 1e-15
    make_log("fast/direct", full_config("c-soba"), n_rows=92, eval_every=91, replace=replace)
    with pytest.raises(RunsDifferError, match="differ in upper_loss"):
        measure(table(), runs)


def test_page_picture_and_numbers(runs: Path) -> None:
    found = measure(table(), runs)
    page = markdown(found, "jobs/slow-network.sh", "100mbit", "slow-network")
    assert "| fast method | dense | 8-bit | 200.0 | 90 | 18.0 | - | 2.50 | 50 % |" in page
    assert "50.0 times faster than soba, star (at least 10 were wanted: reached)" in " ".join(
        page.split()
    )
    content = json.loads(numbers(found, "100mbit"))
    assert [one["name"] for one in content["variants"]] == ["star", "dense", "fast"]
    assert content["dense_download"]["milliseconds_median"] == pytest.approx(100.0)
    assert picture(found)["png"].startswith(b"\x89PNG")


def test_a_method_that_diverged_is_in_the_table(runs: Path, make_log: MakeLog) -> None:
    (runs / "fast" / "local" / "log.h5").unlink()
    (runs / "fast" / "local").rmdir()
    accuracy = np.full(21, 0.1)
    attributes = {"status": "failed"}
    replace = {"test_accuracy": accuracy, **losses(N_ROWS)}
    config = full_config("c-soba")
    make_log("fast/local", config, N_ROWS, 5, replace=replace, attributes=attributes)
    found = measure(table(), runs)
    assert "| fast method | compressed | 8-bit | 10.0 | diverged | - |" in markdown(
        found, "x", "100mbit", "slow-network"
    )
    assert picture(found)["svg"]


def test_the_projects_table_has_every_combination() -> None:
    found = read_table(ROOT / "jobs" / "slow-network.json", ROOT)
    names = [variant.name for variant in found.variants]
    assert len(set(names)) == len(names)
    assert {found.baseline, found.floor} <= set(names)
    by_name = {variant.name: variant.config for variant in found.variants}
    ordered = by_name["shared-10.compressed.dense"]
    assert ordered["downlink"] == {"kind": "sum"}
    assert ordered["wire"] == {"collective": "segments"}
    assert by_name["shared-10.compressed.8-bit"]["wire"] == {"collective": "star"}
    assert "downlink" not in by_name["ef21-top-k-1.dense.8-bit"]
    difference = by_name["ef21-top-k-1.compressed.8-bit"]["downlink"]
    assert difference["compressor"]["y"] == {"kind": "dithering", "levels": 127}


def test_configs_are_written_for_a_trial(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["--only", "ef21*", "configs", str(tmp_path), "--evaluate-every", "25"]
    assert main([*arguments, "--dataset", "mnist-small", "--iterations", "9"]) == 0
    names = capsys.readouterr().out.split()
    assert names[:2] == ["soba-star", "dense-download"]
    assert len(names) == 6
    config = json.loads((tmp_path / f"{names[-1]}.json").read_text())
    assert config["iterations"] == 9
    assert config["problem"]["dataset"] == "mnist-small"
    assert config["problem"]["hidden"] == [200]


def test_missing_runs_are_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["direct", str(tmp_path)]) == 3
    assert "soba-star/short is missing" in capsys.readouterr().err


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
    assert state("mnist") == 11, "another data set is another config"
