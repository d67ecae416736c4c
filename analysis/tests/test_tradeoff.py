"""The picture of accuracy against bytes, and methods with names of their own."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from sobaya_analysis.sweep.draw import entries_of, styles_of
from sobaya_analysis.sweep.experiment import Experiment, experiment, panels
from sobaya_analysis.sweep.model import read_sweep
from sobaya_analysis.sweep.numbers import MEASURES
from sobaya_analysis.sweep.part import Choices
from sobaya_analysis.sweep.tradeoff import draw, floor_of, legend_text, parts, point_of

from .sweeps import evaluated, uploaded, write_sweep

ACCURACY = MEASURES[0]


def methods() -> list[dict[str, Any]]:
    """Soba and 15 variants of c-soba with four feedbacks."""
    found: list[dict[str, Any]] = [{"algorithm.kind": "soba"}]
    for index in range(15):
        found.append(
            {
                "algorithm.kind": "c-soba",
                "feedback": {"kind": f"kind{index // 4}"},
                "compressor": {"kind": "rand-k", "ratio": 0.01 * (index + 1)},
            }
        )
    return found


def behaviour(config: dict[str, Any]) -> dict[str, Any]:
    if config["algorithm"]["kind"] == "soba":
        return evaluated(test_accuracy=0.53) | uploaded(10**6)
    index = round(100 * config["compressor"]["ratio"]) - 1
    if index == 5:
        lost = {"status": "failed", "stop_reason": "x is not a number"}
        return evaluated(test_accuracy=0.1) | lost
    accuracy = 0.3 if index == 3 else 0.53 - 0.002 * index
    return evaluated(test_accuracy=accuracy) | uploaded(10**6 // (3**index // 2000 + 1 + index))


def named(tmp_path: Path, members: list[dict[str, Any]]) -> Experiment:
    sweep = read_sweep(write_sweep(tmp_path / "sweep", members, behaviour))
    names = {}
    for member in sweep.members:
        compressor = member.settings.get("compressor")
        words = f"rand-k {compressor['ratio']:.2f} of x, y and z" if compressor else "in full"
        names[member.hash] = f"c-soba with one of several feedbacks: {words}"
    return experiment(sweep, names)


def test_picture_holds_many_methods_without_overlap(tmp_path: Path) -> None:
    """Nothing leaves the canvas, and no text of the legend or of an axis covers another."""
    points = [point_of(cell, ACCURACY) for cell in named(tmp_path, methods()).cells]
    floor = floor_of(points)
    assert floor == pytest.approx(49.5)
    assert legend_text(points[4], floor).replace("\n", " ").endswith("(30.0 %, below the axis)")
    assert legend_text(points[6], floor).replace("\n", " ").endswith("(0 of 1 completed)")
    assert [len({point.family for point in points}), points[0].upload] == [5, 10**6]
    figure = draw(points, ACCURACY)
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
            if axes.get_xlim()[0] <= tick.get_loc() <= axes.get_xlim()[1]
        ]
        boxes += [label.get_window_extent(renderer) for label in ticks if label.get_text()]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    bounds = figure.get_tightbbox(renderer)
    width, height = figure.get_size_inches()
    assert min(bounds.x0, bounds.y0) >= 0
    assert bounds.x1 <= width
    assert bounds.y1 <= height


def test_picture_needs_accuracies_and_two_methods(tmp_path: Path) -> None:
    found = named(tmp_path, methods()[:3])
    (part,) = parts(found, ACCURACY, Choices())
    assert [picture.name for picture in part.pictures] == ["tradeoff"]
    assert parts(found, MEASURES[2], Choices()) == []
    assert parts(found, None, Choices()) == []
    (tmp_path / "sweep").rename(tmp_path / "other")
    assert parts(named(tmp_path, methods()[:1]), ACCURACY, Choices()) == []


def test_named_methods_are_their_settings(tmp_path: Path) -> None:
    """What tells methods of different names apart is no axis; what varies within one is."""
    members = [{**one, "seed": seed} for one in methods()[:4] for seed in (1, 2)]
    found = named(tmp_path, members)
    assert found.axes == ()
    assert [cell.label for cell in found.cells][:2] == [
        "c-soba with one of several feedbacks: in full",
        "c-soba with one of several feedbacks: rand-k 0.01 of x, y and z",
    ]
    assert len(panels(found.cells, ())) == 1
    assert len(set(styles_of(found.cells))) == 4, "though three are of one algorithm"
    assert list(entries_of([found.cells[:2], found.cells[2:]])) == [c.name for c in found.cells]
    (tmp_path / "sweep").rename(tmp_path / "other")
    members = [{**one, "workers": workers} for one in methods()[:3] for workers in (4, 8)]
    found = named(tmp_path, members)
    assert found.axes == ("workers",)
    assert found.cells[1].label == "c-soba with one of several feedbacks: in full, workers 8"
    assert all(np.isfinite(point_of(cell, ACCURACY).upload) for cell in found.cells)
    (part,) = parts(found, ACCURACY, Choices())
    assert [picture.name for picture in part.pictures] == ["tradeoff-1", "tradeoff-2"]


def test_labels_leave_out_what_goes_with_a_kind(tmp_path: Path) -> None:
    kinds = [{"kind": "rand-k", "ratio": 0.01, "shared": False}, {"kind": "sign", "scale": "l1"}]
    members = [
        {"algorithm.kind": "c-soba", "compressor": kind, "feedback.kind": feedback}
        for kind, feedback in zip(kinds, ("none", "residual"), strict=True)
    ]

    def plain(_config: dict[str, Any]) -> dict[str, Any]:
        return evaluated(test_accuracy=0.9)

    sweep = read_sweep(write_sweep(tmp_path / "sweep", members, plain))
    assert [cell.label for cell in experiment(sweep).cells] == [
        "c-soba, rand-k 1 %",
        "c-soba, sign, residual",
    ]


def test_tuned_keys_are_no_axes(tmp_path: Path) -> None:
    members = [{**methods()[i], "algorithm.alpha": 0.1 * i} for i in (1, 2, 3)]
    sweep = read_sweep(write_sweep(tmp_path / "sweep", members, behaviour))
    assert "algorithm.alpha" in experiment(sweep).axes
    assert experiment(sweep, tuned={"algorithm.alpha"}).axes == ("compressor.ratio",)
