"""Finding and reading logs, and what is said about bad ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sobaya_analysis import errors
from sobaya_analysis.runs import continue_clock, find_logs, load_run

from .conftest import MakeLog, config_of


def test_reads_all_columns(make_log: MakeLog) -> None:
    run = load_run(make_log("a", config_of("ef-soba", 7)))
    assert run.name == "demo-ef-soba-s7"
    assert (run.seed, run.n_workers, run.n_ranks, run.status) == (7, 4, 2, "completed")
    assert run.iteration.tolist() == list(range(11))
    assert run.upload_bits_per_worker[-1] == 20_000
    assert run.download_bytes is not None
    assert run.download_bytes[-1] == 20_000
    assert run.eval_iteration.tolist() == [0, 2, 4, 6, 8, 10]
    assert np.isnan(run.upper_loss[0])


@pytest.mark.parametrize("status", ["running", "stopped", "failed"])
def test_unfinished_runs_are_read(make_log: MakeLog, status: str) -> None:
    run = load_run(make_log("a", attributes={"status": status, "stop_reason": "wall time"}))
    assert (run.status, run.stop_reason) == (status, "wall time")


@pytest.mark.parametrize("status", [np.bytes_("stopped"), np.array(["stopped"], dtype="S")])
def test_fixed_length_texts_are_read(make_log: MakeLog, status: object) -> None:
    assert load_run(make_log("a", attributes={"status": status})).status == "stopped"


def test_ragged_tail_is_cut_to_the_common_length(make_log: MakeLog) -> None:
    replace = {"upload_bytes": np.arange(12), "test_accuracy": np.zeros(5)}
    run = load_run(make_log("a", replace=replace))
    assert len(run.iteration) == len(run.upload_bytes) == 11
    assert len(run.eval_iteration) == len(run.hypergradient_norm) == len(run.test_accuracy) == 5


def test_optional_parts_may_be_absent(make_log: MakeLog) -> None:
    attributes = {"n_ranks": None, "n_workers": None, "seed": None, "git_commit": None}
    path = make_log("a", replace={"download_bytes": None}, attributes=attributes)
    run = load_run(path)
    assert run.download_bytes is None
    assert run.n_ranks is None
    assert run.seed == 1, "taken from the config"


@pytest.mark.parametrize("minor", [0, 7])
def test_every_minor_version_is_read(make_log: MakeLog, minor: int) -> None:
    version = np.array([1, minor], dtype=np.int32)
    path = make_log("a", attributes={"schema_version": version, "parts_json": None})
    assert load_run(path).status == "completed"


def test_name_falls_back_to_the_folder(make_log: MakeLog) -> None:
    assert load_run(make_log("some-run", "{}")).name == "some-run"


def test_clock_goes_on_over_restarts() -> None:
    clock = np.array([0.0, 1.0, 3.0, 0.5, 1.0, 0.25])
    assert continue_clock(clock).tolist() == [0.0, 1.0, 3.0, 3.5, 4.0, 4.25]


def test_find_logs(make_log: MakeLog, tmp_path: Path) -> None:
    first, second = make_log("sweep/a"), make_log("sweep/b")
    assert find_logs([tmp_path / "sweep"]) == [first, second]
    assert find_logs([first]) == find_logs([first.parent]) == [first]
    assert find_logs([first, tmp_path / "sweep"]) == [first, second], "each log once"
    with pytest.raises(errors.UsageError, match="no such file"):
        find_logs([tmp_path / "nowhere"])
    with pytest.raises(errors.UsageError, match="one level below"):
        find_logs([tmp_path])


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"replace": {"upper_loss": None}}, errors.MissingItemError, "upper_loss is missing"),
        ({"attributes": {"schema_version": None}}, errors.MissingItemError, "schema_version"),
        ({"attributes": {"config_json": None}}, errors.MissingItemError, "config_json"),
        ({"attributes": {"schema_version": [2, 1]}}, errors.SchemaVersionError, "2.1"),
        ({"attributes": {"schema_version": "1"}}, errors.InvalidLogError, "no integer"),
        ({"n_rows": 0}, errors.EmptyLogError, "no rows"),
        ({"config": "{"}, errors.InvalidLogError, "no JSON"),
        ({"config": "[" * 100_000}, errors.InvalidLogError, "no JSON"),
        ({"config": "[]"}, errors.InvalidLogError, "no JSON object"),
        ({"replace": {"iteration": np.zeros(11, int)}}, errors.InvalidLogError, "increase"),
        ({"replace": {"wall_time": [b"x"] * 11}}, errors.InvalidLogError, "column of numbers"),
    ],
)
def test_bad_logs_name_file_and_remedy(
    make_log: MakeLog, changes: dict, error: type[errors.LogError], text: str
) -> None:
    path = make_log("bad", **changes)
    with pytest.raises(error, match=text) as caught:
        load_run(path)
    assert str(path) in str(caught.value)
    assert caught.value.remedy
    assert caught.value.exit_code == 3


def test_not_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "log.h5"
    path.write_text("iteration,loss\n")
    with pytest.raises(errors.UnreadableLogError, match="not an HDF5 file"):
        load_run(path)
    path.write_bytes(b"")
    with pytest.raises(errors.UnreadableLogError, match="not an HDF5 file"):
        load_run(path)


def test_truncated_hdf5(make_log: MakeLog) -> None:
    path = make_log("cut")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(errors.UnreadableLogError, match="damaged HDF5"):
        load_run(path)
