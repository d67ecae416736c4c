"""Grouping, labels, sections, baselines and final numbers."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from sobaya_analysis.configs import common_name, describe, fingerprint, labels
from sobaya_analysis.group import baseline, group_runs, sections
from sobaya_analysis.runs import load_run
from sobaya_analysis.summary import csv_text, summarise_group, summarise_run

from .conftest import MakeLog, config_of

RAND_K = {"kind": "rand-k", "ratio": 0.1}


def test_seeds_form_a_group(make_log: MakeLog) -> None:
    runs = [
        load_run(make_log(f"{kind}-{seed}", config_of(kind, seed)))
        for kind in ("ef-soba", "soba")
        for seed in (1, 2, 3)
    ]
    groups = group_runs(runs)
    assert [(group.label, len(group.runs), group.seeds) for group in groups] == [
        ("soba", 3, 3),
        ("ef-soba", 3, 3),
    ], "the uncompressed method comes first"
    assert "seed" not in groups[0].config


def test_spelling_does_not_split_groups() -> None:
    one = config_of("ef-soba", 1, compressor=RAND_K, rho=100.0)
    other = config_of("ef-soba", 2, compressor=dict.fromkeys("xyz", RAND_K), rho=100)
    assert fingerprint(one) == fingerprint(other)
    mixed = {"x": RAND_K, "y": RAND_K, "z": {"kind": "identity"}}
    assert fingerprint(one) != fingerprint(config_of("ef-soba", 1, compressor=mixed, rho=100))


def label_cases() -> list[tuple[list[dict], list[str]]]:
    def compressed(kind: str, ratio: float, **more: object) -> dict:
        return config_of(kind, compressor={"kind": "rand-k", "ratio": ratio}, **more)

    return [
        ([config_of("soba")], ["soba"]),
        ([config_of("soba"), compressed("ef-soba", 0.1)], ["soba", "ef-soba"]),
        (
            [config_of("soba"), compressed("ef-soba", 0.1), compressed("ef-soba", 0.01)],
            ["soba", "ef-soba, ratio 0.1", "ef-soba, ratio 0.01"],
        ),
        (
            [compressed("ef-soba", 0.1), compressed("ef-soba", 0.01)],
            ["ratio 0.1", "ratio 0.01"],
        ),
        (
            [
                config_of("soba", partition={"kind": "iid"}),
                config_of("soba", partition={"kind": "dirichlet"}),
            ],
            ["iid", "dirichlet"],
        ),
        (
            [
                config_of(compressor={"x": {"kind": "rand-k"}, "y": {"kind": "top-k"}}),
                config_of(compressor={"x": {"kind": "top-k"}, "y": {"kind": "rand-k"}}),
            ],
            ["rand-k on x; top-k on y", "top-k on x; rand-k on y"],
        ),
        ([config_of(workers=4), config_of(workers=8)], ["workers 4", "workers 8"]),
        ([config_of(rho=10.0), config_of()], ["rho 10", "no rho"]),
        ([{}, {"a": {}}], ["first", "second"]),
    ]


@pytest.mark.parametrize(("configs", "expected"), label_cases())
def test_labels(configs: list[dict], expected: list[str]) -> None:
    assert labels(configs, ["first", "second", "third"][: len(configs)]) == expected


def test_labels_fall_back_to_names_and_stay_distinct() -> None:
    # Each of seven keys is on in one config only, so that six keys are needed to tell all apart.
    configs = [config_of(**{f"key{k}": int(k == n) for k in range(7)}) for n in range(7)]
    assert labels(configs, list("abcdefa")) == ["a", "b", "c", "d", "e", "f", "a #2"]
    assert labels([{}], ["\x1b[31m  a\nb"]) == ["[31m a b"]


@pytest.mark.parametrize(
    ("names", "common"),
    [
        (["mnist-s1", "mnist-s2"], "mnist"),
        (["mnist-seed11", "mnist-seed12"], "mnist"),
        (["runs1", "runs2"], "runs"),
        (["mnist"], "mnist"),
        (["mnist-2", "mnist-2"], "mnist-2"),
        (["a", "b"], "a"),
    ],
)
def test_common_name(names: list[str], common: str) -> None:
    assert common_name(names) == common


def test_describe() -> None:
    multi = {"kind": "multi-step", "rounds": 3, "inner": RAND_K}
    assert describe(None) == "none"
    assert describe(dict.fromkeys("xyz", RAND_K)) == "rand-k ratio 0.1"
    assert describe(multi) == "multi-step rounds 3 inner (rand-k ratio 0.1)"
    assert describe({"x": RAND_K, "y": {"kind": "identity"}}) == "x: rand-k ratio 0.1; y: identity"
    assert describe([1, {}]) == "[1, {}]"


def test_sections_by_problem(make_log: MakeLog) -> None:
    quadratic = config_of(problem={"kind": "quadratic"})
    runs = [load_run(make_log("a")), load_run(make_log("b", quadratic))]
    runs.append(load_run(make_log("c", "{}")))
    found = sections(runs)
    assert [section.title for section in found] == [
        "hyper-representation · mnist-small",
        "quadratic",
        "runs",
    ]
    assert [section.slug for section in found] == [
        "hyper-representation-mnist-small",
        "quadratic",
        "runs",
    ]


def test_baseline_has_the_same_problem_workers_and_precision(make_log: MakeLog) -> None:
    configs = {
        "f64": config_of("soba", precision="f64"),
        "f32": config_of("soba"),
        "ef": config_of("ef-soba", compressor=RAND_K),
        "other": config_of("ef-soba", workers=8),
    }
    groups = group_runs([load_run(make_log(name, config)) for name, config in configs.items()])
    f64, f32, ef, other = groups
    assert baseline(ef, groups) is f32
    assert baseline(f64, groups) is f64
    assert baseline(other, groups) is None
    assert summarise_group(other, groups).upload_ratio is None


def test_final_numbers(make_log: MakeLog) -> None:
    accuracy = np.array([0.1, 0.5, 0.6, 0.7, np.nan, 0.8, 0.9])
    norm = np.array([1.0, 0.5, np.nan, 0.2, np.nan, np.nan, np.nan])
    replace = {"test_accuracy": accuracy, "hypergradient_norm": norm}
    final = summarise_run(load_run(make_log("a", n_rows=13, replace=replace)))
    assert final.test_accuracy == pytest.approx(0.7), "last five of those recorded"
    assert final.hypergradient_norm == 0.2
    assert (final.iterations, final.upload_bytes, final.wall_seconds) == (12, 12_000, 6.0)


def test_divergence_is_not_hidden(make_log: MakeLog) -> None:
    norm = np.array([1.0, 10.0, 1e3, 1e9, np.inf, np.inf])
    assert summarise_run(load_run(make_log("a", replace={"hypergradient_norm": norm}))) == (
        summarise_run(load_run(make_log("b", replace={"hypergradient_norm": norm})))
    )
    run = load_run(make_log("c", replace={"hypergradient_norm": norm}))
    assert summarise_run(run).hypergradient_norm == np.inf


def test_run_that_has_only_started(make_log: MakeLog) -> None:
    run = load_run(make_log("a", n_rows=1, attributes={"status": "running"}))
    final = summarise_run(run)
    assert final.upper_loss is None
    assert final.upload_bytes_per_iteration is None
    groups = group_runs([run])
    assert summarise_group(groups[0], groups).upload_ratio is None


def test_group_medians_and_upload_ratio(make_log: MakeLog) -> None:
    runs = [load_run(make_log("soba", config_of("soba"), n_rows=21))]
    for seed, top in ((1, 0.7), (2, 0.9), (3, 0.8)):
        config = config_of("ef-soba", seed, compressor=RAND_K)
        replace = {"test_accuracy": np.full(6, top)}
        status = {"status": "running" if seed == 3 else "completed"}
        runs.append(load_run(make_log(str(seed), config, 11, 2, 125, replace, status)))
    section = sections(runs)[0]
    soba, ef = (summarise_group(group, section.groups) for group in section.groups)
    assert soba.upload_ratio == 1.0
    assert ef.upload_ratio == pytest.approx(0.125), "per iteration: half as many were done"
    assert ef.test_accuracy == pytest.approx(0.8)
    assert (ef.n_seeds, ef.iterations, ef.compressor) == (3, (10, 10), "rand-k ratio 0.1")
    assert ef.status == {"completed": 2, "running": 1}

    rows = list(csv.DictReader(io.StringIO(csv_text([section]))))
    assert len(rows) == 4
    assert [row["seed"] for row in rows] == ["1", "1", "2", "3"]
    assert float(rows[2]["upload_ratio_to_soba"]) == pytest.approx(0.125)
    assert float(rows[2]["final_test_accuracy"]) == pytest.approx(0.9)
    assert rows[3]["status"] == "running"
