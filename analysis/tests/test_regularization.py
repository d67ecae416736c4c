"""The program's selection of regularization next to the definition, evaluated with NumPy.

With slices as long as the data, SOBA's mini-batches are all samples and a run has nothing random:
NumPy repeats it, and every loss and every exact evaluation of its log must agree.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest

from .conftest import PROGRAM, needs_program

FEATURES = 6
SAMPLES = {"train": 80, "validation": 50, "test": 40}
STEPS = {"alpha": 0.3, "beta": 0.5, "gamma": 0.4}
ITERATIONS = 8
START = -1.5


@dataclass
class Definition:
    """g and f of the samples, written down with one matrix Y [rows x columns]."""

    samples: dict[str, tuple[np.ndarray, np.ndarray]]  # A [n x rows], class of each sample
    classes: int
    by_class: bool

    @property
    def columns(self) -> int:
        """Scores of a sample."""
        return 1 if self.classes == 2 else self.classes

    def weights(self, x: np.ndarray) -> np.ndarray:
        """exp(x) on the entries of Y."""
        rows = self.samples["train"][0].shape[1]
        w = np.exp(x)
        return np.tile(w, (rows, 1)) if self.by_class else np.tile(w[:, None], (1, self.columns))

    def probabilities(self, part: str, y: np.ndarray) -> np.ndarray:
        """Of each class, for the samples of a part: two classes have the scores 0 and a'y."""
        scores = self.samples[part][0] @ y
        if self.columns == 1:
            scores = np.hstack([np.zeros_like(scores), scores])
        e = np.exp(scores - scores.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    def loss(self, part: str, y: np.ndarray) -> float:
        """Mean cross-entropy."""
        p = self.probabilities(part, y)
        return float(-np.log(p[np.arange(len(p)), self.samples[part][1]]).mean())

    def accuracy(self, part: str, y: np.ndarray) -> float:
        """Share of the samples whose class has the largest probability."""
        return float((self.probabilities(part, y).argmax(axis=1) == self.samples[part][1]).mean())

    def gradient(self, part: str, y: np.ndarray) -> np.ndarray:
        """Of the mean cross-entropy, with respect to Y."""
        a, labels = self.samples[part]
        r = self.probabilities(part, y) - np.eye(self.classes)[labels]
        return a.T @ r[:, -self.columns :] / len(a)

    def hessian(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Of g with respect to vec(Y), sample by sample."""
        a, _ = self.samples["train"]
        size = y.size
        h = np.diag(self.weights(x).ravel())
        for row, p in zip(a, self.probabilities("train", y)[:, -self.columns :], strict=True):
            of_scores = np.diag(p) - np.outer(p, p)
            h += np.kron(np.outer(row, row), of_scores).reshape(size, size) / len(a)
        return h

    def upper_gradient(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """grad_x f + J z: exp(x) y z, summed over what a weight covers."""
        return (self.weights(x) * y * z).sum(axis=0 if self.by_class else 1)

    def lower_loss(self, x: np.ndarray, y: np.ndarray) -> float:
        """Value of g on all training samples."""
        return self.loss("train", y) + 0.5 * float((self.weights(x) * y**2).sum())

    def directions(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> list[np.ndarray]:
        """D_x, D_y and D_z on all samples."""
        curvature = (self.hessian(x, y) @ z.ravel()).reshape(z.shape)
        d_y = self.gradient("train", y) + self.weights(x) * y
        return [self.upper_gradient(x, y, z), d_y, curvature + self.gradient("validation", y)]

    def solution(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """y* by Newton's method from y, and z*."""
        for _ in range(30):
            gradient = self.gradient("train", y) + self.weights(x) * y
            y = y - np.linalg.solve(self.hessian(x, y), gradient.ravel()).reshape(y.shape)
        upper = self.gradient("validation", y).ravel()
        return y, -np.linalg.solve(self.hessian(x, y), upper).reshape(y.shape)


def draw(folder: Path, classes: int, intercept: bool) -> tuple[dict, dict]:
    """Samples of every part and the files that hold them; a third of the entries is zero."""
    rng = np.random.default_rng(3)
    centres = rng.standard_normal((classes, FEATURES))
    samples, files = {}, {}
    for part, count in SAMPLES.items():
        labels = np.arange(count) % classes
        a = 0.6 * centres[labels] + rng.standard_normal((count, FEATURES))
        a[rng.random(a.shape) < 1 / 3] = 0.0
        lines = [
            " ".join([str(label), *(f"{j + 1}:{v!r}" for j, v in enumerate(row) if v != 0.0)])
            for label, row in zip(labels.tolist(), a.tolist(), strict=True)
        ]
        files[part] = str(folder / f"{part}.svm")
        Path(files[part]).write_text("\n".join(lines) + "\n")
        samples[part] = (np.hstack([a, np.ones((count, 1))]) if intercept else a, labels)
    return samples, files


@needs_program
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("weights", ["feature", "class"])
@pytest.mark.parametrize("classes", [2, 4])
def test_a_run_is_what_numpy_repeats(
    tmp_path: Path, classes: int, weights: str, intercept: bool
) -> None:
    samples, files = draw(tmp_path, classes, intercept)
    problem = {
        "kind": "regularization-selection",
        "dataset": {"format": "svmlight", "features": FEATURES, **files},
        "weights": weights,
        "intercept": intercept,
        "start": START,
        "batch_lower": SAMPLES["train"],
        "batch_upper": SAMPLES["validation"],
        "sampler": "slice",
    }
    config = {
        "name": "repeated",
        "precision": "f64",
        "workers": 1,
        "iterations": ITERATIONS,
        "problem": problem,
        "algorithm": {"kind": "soba", **STEPS},
        "evaluate": {"every": 1, "hypergradient": True},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    command = [PROGRAM, "run", tmp_path / "config.json", "--out", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "out" / "log.h5") as log:
        found = {name: log[name][()] for name in log if log[name].ndim == 1}

    definition = Definition(samples, classes, weights == "class")
    rows = FEATURES + intercept
    x = np.full(definition.columns if weights == "class" else rows, START)
    y, z = np.zeros((2, rows, definition.columns))
    for k in range(ITERATIONS + 1):
        best, adjoint = definition.solution(x, y)
        expected = {
            "objective": definition.loss("validation", best),
            "hypergradient_norm": np.linalg.norm(definition.upper_gradient(x, best, adjoint)),
            "lower_distance": np.linalg.norm(y - best),
            "auxiliary_distance": np.linalg.norm(z - adjoint),
            "solution_accuracy": definition.accuracy("test", best),
            "test_accuracy": definition.accuracy("test", y),
            "test_loss": definition.loss("test", y),
            "validation_loss": definition.loss("validation", y),
        }
        for name, value in expected.items():
            assert found[name][k] == pytest.approx(value, rel=1e-10), f"{name} at {k}"
        if k < ITERATIONS:
            of_batch = definition.loss("validation", y), definition.lower_loss(x, y)
            logged = found["upper_loss"][k + 1], found["lower_loss"][k + 1]
            assert logged == pytest.approx(of_batch, rel=1e-10), f"losses at {k}"
            d_x, d_y, d_z = definition.directions(x, y, z)
            x = x - STEPS["alpha"] * d_x
            y, z = y - STEPS["beta"] * d_y, z - STEPS["gamma"] * d_z
