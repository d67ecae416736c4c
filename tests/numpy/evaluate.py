"""Evaluates bilevel problems from their definitions, and compares with what the program found.

    evaluate.py FILE

tests/library/numpy.rs writes FILE. Written down here are the losses f and g and, since a second derivative
needs one, grad_y g. Every derivative is a complex step, Im v(x + ih) / h, exact to rounding for any
h this small (Squire, Trapp, SIAM Review 40, 1998): nothing else is derived by hand. Linear systems
are dense. The exit status is 1 if any difference is above 1e-10, relative to the norm.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

TOLERANCE = 1e-10
STEP = 1e-40
NEWTON_STEPS = 25


class Problem(Protocol):
    """The losses of a worker on some of its samples; each function takes complex numbers."""

    def upper(self, x: np.ndarray, y: np.ndarray) -> complex:
        """f(x, y)."""

    def lower(self, x: np.ndarray, y: np.ndarray) -> complex:
        """g(x, y)."""

    def lower_gradient(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """grad_y g(x, y) [q]."""


def derivative(function: Callable[[np.ndarray], Any], v: np.ndarray) -> np.ndarray:
    """Of a function of v with respect to each of its entries [len(v), ...]."""
    steps = 1j * STEP * np.eye(len(v))
    return np.array([np.imag(function(v + step)) / STEP for step in steps])


class Quadratic:
    """g = 1/2 y'H y - y'(J x + b), f = 1/2 |y - t|^2 + mu/2 |x|^2 + q'x, and the noise of a draw."""

    def __init__(self, parameters: dict, definition: dict, noisy: bool) -> None:
        p, q = parameters["dim_upper"], parameters["dim_lower"]
        h, self.mu = parameters["heterogeneity"], parameters["mu"]
        common, own = (
            {name: np.array(draws) for name, draws in definition[whose].items()}
            for whose in ("common", "own")
        )
        root = common["s"].reshape(q, q) / np.sqrt(q)
        spread = own["s"].reshape(q, q) / np.sqrt(q)
        self.h = root @ root.T + np.eye(q) + 0.1 * h * (spread + spread.T)
        self.j = (common["j"] + h * own["j"]).reshape(q, p) / np.sqrt(p)
        self.b = common["b"] + h * own["b"]
        self.t = common["t"] + h * own["t"]
        self.q = 0.1 * common["q"] + 0.1 * h * own["q"]
        noise = parameters["noise"] * noisy * np.array(definition["noise"])
        self.noise_x, self.noise_y, self.noise_z = np.split(noise, [p, p + q])

    def upper(self, x: np.ndarray, y: np.ndarray) -> complex:
        away = y - self.t
        exact = 0.5 * away @ away + 0.5 * self.mu * x @ x + self.q @ x
        return exact + self.noise_z @ y + self.noise_x @ x

    def lower(self, x: np.ndarray, y: np.ndarray) -> complex:
        return 0.5 * y @ self.h @ y - y @ (self.j @ x + self.b) + self.noise_y @ y

    def lower_gradient(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return self.h @ y - self.j @ x - self.b + self.noise_y


class PolicyEvaluation:
    """g = 1/2 sum_s E (y_s - r(s, s') - discount phi_s'x)^2, f = 1/2 mean_s (phi_s x - y_s)^2."""

    def __init__(self, parameters: dict, definition: dict, batch: bool) -> None:
        states, features = parameters["states"], parameters["features"]
        of = {name: np.array(values) for name, values in definition.items()}
        self.features = of["features"].reshape(states, features)
        self.discount = parameters["discount"]
        rewards = of["rewards"] + parameters["heterogeneity"] * of["own"]
        self.rewards = rewards.reshape(states, states)
        chances = of["next"].reshape(states, states)
        chances = chances / chances.sum(axis=1, keepdims=True)
        if batch:
            upto, drawn = chances.cumsum(axis=1), of["lower"].reshape(states, -1, 1)
            chosen = (upto[:, None, :] <= drawn).sum(axis=2)
            chances = np.eye(states)[chosen].mean(axis=1)
        self.chances = chances
        self.chosen = of["upper"] if batch else np.arange(states)

    def upper(self, x: np.ndarray, y: np.ndarray) -> complex:
        residual = (self.features @ x - y)[self.chosen]
        return 0.5 * (residual**2).mean()

    def residuals(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Of each transition [S x S]."""
        return y[:, None] - self.rewards - self.discount * (self.features @ x)[None, :]

    def lower(self, x: np.ndarray, y: np.ndarray) -> complex:
        return 0.5 * (self.chances * self.residuals(x, y) ** 2).sum()

    def lower_gradient(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (self.chances * self.residuals(x, y)).sum(axis=1)


@dataclass
class Samples:
    """Features [n x features] and the class of each sample."""

    features: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, level: dict, batch: bool, labels: list[int] | None = None) -> Samples:
        """All samples of a level, or those of its mini-batch."""
        features = np.array(level["features"])
        labels = np.array(level["labels"] if labels is None else labels)
        rows = np.array(level["batch"]) if batch else np.arange(len(labels))
        return cls(features[rows], labels[rows])


def cross_entropy(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Of each row: log of the sum of exp(scores), minus the score of the label."""
    # A constant may be taken from a row, and a real one keeps the function analytic.
    scores = scores - scores.real.max(axis=1, keepdims=True)
    return np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(labels)), labels]


def score_gradient(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Derivative of each row's cross-entropy with respect to its scores: softmax minus one-hot."""
    e = np.exp(scores - scores.real.max(axis=1, keepdims=True))
    one_hot = np.eye(scores.shape[1])[labels]
    return e / e.sum(axis=1, keepdims=True) - one_hot


class HyperCleaning:
    """g = mean of sigmoid(x_j) CE(a_j'Y, label_j) + l2/2 |y|^2, f = mean of CE(a'Y, label)."""

    def __init__(self, case: dict, worker: int, batch: bool) -> None:
        definitions = [worker["definition"] for worker in case["workers"]]
        self.classes, self.l2 = case["classes"], case["problem"]["l2"]
        levels = definitions[worker]
        self.training = Samples.of(levels["lower"], batch, levels["trained"])
        self.validation = Samples.of(levels["upper"], batch)
        self.test = Samples.of(levels["test"], batch=False)
        # x has an entry for each training sample, worker after worker.
        counts = [len(definition["trained"]) for definition in definitions]
        places = np.arange(sum(counts[:worker]), sum(counts[: worker + 1]))
        self.places = places[levels["lower"]["batch"]] if batch else places

    def scores(self, samples: Samples, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """One row a sample."""
        return np.einsum("nf,fc->nc", samples.features, y.reshape(-1, self.classes))

    def upper(self, x: np.ndarray, y: np.ndarray) -> complex:
        return cross_entropy(self.scores(self.validation, x, y), self.validation.labels).mean()

    def lower(self, x: np.ndarray, y: np.ndarray) -> complex:
        losses = cross_entropy(self.scores(self.training, x, y), self.training.labels)
        return (losses / (1 + np.exp(-x[self.places]))).mean() + 0.5 * self.l2 * y @ y

    def lower_gradient(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        residuals = score_gradient(self.scores(self.training, x, y), self.training.labels)
        weights = 1 / (1 + np.exp(-x[self.places])) / len(self.places)
        gradient = np.einsum("n,nf,nc->fc", weights, self.training.features, residuals)
        return gradient.ravel() + self.l2 * y


class HyperRepresentation:
    """g = mean of CE(phi_x(a)'Y + bias, label) + l2/2 |y|^2, f the same on validation samples."""

    def __init__(self, case: dict, worker: int, batch: bool) -> None:
        parameters, levels = case["problem"], case["workers"][worker]["definition"]
        self.classes, self.l2 = case["classes"], parameters["l2"]
        self.activation = parameters["activation"]
        self.training = Samples.of(levels["lower"], batch)
        self.validation = Samples.of(levels["upper"], batch)
        self.test = Samples.of(levels["test"], batch=False)
        self.widths = [self.training.features.shape[1], *parameters["hidden"]]

    def activate(self, v: np.ndarray) -> np.ndarray:
        """What a layer makes of its sums."""
        if self.activation == "relu":
            return np.where(v.real > 0, v, 0)
        return np.tanh(v) if self.activation == "tanh" else np.log(1 + np.exp(v))

    def representation(self, samples: Samples, x: np.ndarray) -> np.ndarray:
        """Output of the last hidden layer and a column of ones, which the head's bias multiplies."""
        ones = np.ones((len(samples.labels), 1))
        outputs = samples.features
        for inputs, width in zip(self.widths, self.widths[1:], strict=False):
            matrix, x = np.split(x, [(inputs + 1) * width])
            outputs = self.activate(np.hstack([outputs, ones]) @ matrix.reshape(-1, width))
        return np.hstack([outputs, ones])

    def scores(self, samples: Samples, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """One row a sample."""
        return self.representation(samples, x) @ y.reshape(-1, self.classes)

    def upper(self, x: np.ndarray, y: np.ndarray) -> complex:
        return cross_entropy(self.scores(self.validation, x, y), self.validation.labels).mean()

    def lower(self, x: np.ndarray, y: np.ndarray) -> complex:
        losses = cross_entropy(self.scores(self.training, x, y), self.training.labels)
        return losses.mean() + 0.5 * self.l2 * y @ y

    def lower_gradient(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        residuals = score_gradient(self.scores(self.training, x, y), self.training.labels)
        outputs = self.representation(self.training, x)
        return (outputs.T @ residuals).ravel() / len(residuals) + self.l2 * y


def problem(case: dict, worker: int, batch: bool) -> Problem:
    """A worker's losses on its mini-batches or on all of its samples."""
    kind = case["problem"]["kind"]
    if kind == "quadratic":
        return Quadratic(case["problem"], case["workers"][worker]["definition"], noisy=batch)
    if kind == "policy-evaluation":
        definition = case["workers"][worker]["definition"]
        return PolicyEvaluation(case["problem"], definition, batch)
    kinds = {"hyper-cleaning": HyperCleaning, "hyper-representation": HyperRepresentation}
    return kinds[kind](case, worker, batch)


def hessian(of: Problem, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """H_yy g [q x q]."""
    return derivative(lambda y: of.lower_gradient(x, y), y)


def upper_gradient(of: Problem, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """grad_y f [q]."""
    return derivative(lambda y: of.upper(x, y), y)


def hypergradient(of: Problem, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """grad_x f + J_xy g z [p], as the derivative of f + z'grad_y g."""
    return derivative(lambda x: of.upper(x, y) + of.lower_gradient(x, y) @ z, x)


def tested(of: Problem, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Test samples classified correctly, and the sum of their losses."""
    if not hasattr(of, "test"):
        return np.nan, np.nan
    scores = of.scores(of.test, x, y)
    correct = (scores.argmax(axis=1) == of.test.labels).sum()
    return correct, cross_entropy(scores, of.test.labels).sum()


def sample_losses(of: HyperCleaning, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of the worker's training samples, at their places in x [p]."""
    out = np.zeros(len(x))
    out[of.places] = cross_entropy(of.scores(of.training, x, y), of.training.labels)
    return out


def of_worker(
    batch: Problem, full: Problem, x: np.ndarray, y: np.ndarray, z: np.ndarray
) -> dict[str, Any]:
    """What the program is expected to find for one worker."""
    correct, loss = tested(full, x, y)
    expected = {
        "upper_loss": batch.upper(x, y),
        "lower_loss": batch.lower(x, y),
        "direction_x": hypergradient(batch, x, y, z),
        "direction_y": derivative(lambda y: batch.lower(x, y), y),
        "direction_z": hessian(batch, x, y) @ z + upper_gradient(batch, x, y),
        "lower_gradient_x": derivative(lambda x: batch.lower(x, y), x),
        "full_lower_gradient": derivative(lambda y: full.lower(x, y), y),
        "full_lower_hessian": hessian(full, x, y) @ z,
        "full_upper_gradient": upper_gradient(full, x, y),
        "full_hypergradient": hypergradient(full, x, y, z),
        "validation_loss": full.upper(x, y),
        "test_correct": correct,
        "test_loss": loss,
    }
    if isinstance(full, HyperCleaning):
        expected["sample_losses"] = sample_losses(full, x, y)
    return expected


def auc(scores: np.ndarray, corrupted: np.ndarray) -> float:
    """Share of the pairs of a clean and a corrupted sample in which the clean one's score is above."""
    ahead = scores[~corrupted][:, None] - scores[corrupted][None, :]
    return np.mean((ahead > 0) + 0.5 * (ahead == 0))


def mean_of(workers: list[Problem], function: Callable[[Problem], Any]) -> Any:
    """The mean of what a function makes of each worker."""
    return sum(function(worker) for worker in workers) / len(workers)


def solution(workers: list[Problem], x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """y* by Newton's method from 0, and z* = -H^-1 grad_y f."""

    def solved(right: Callable[..., np.ndarray], y: np.ndarray) -> np.ndarray:
        matrix = mean_of(workers, lambda worker: hessian(worker, x, y))
        return np.linalg.solve(matrix, mean_of(workers, lambda worker: right(worker, x, y)))

    y = np.zeros_like(y)
    for _ in range(NEWTON_STEPS):
        y = y - solved(lambda worker, x, y: worker.lower_gradient(x, y), y)
    return y, -solved(upper_gradient, y)


def of_all(
    case: dict, workers: list[Problem], x: np.ndarray, y: np.ndarray, z: np.ndarray
) -> dict[str, Any]:
    """y*, z*, the hypergradient and the metrics."""

    def mean(function: Callable[[Problem], Any]) -> Any:
        return mean_of(workers, function)

    best, adjoint = solution(workers, x, y)
    total = mean(lambda worker: hypergradient(worker, x, best, adjoint))
    samples = mean(lambda worker: len(worker.test.labels) if hasattr(worker, "test") else np.nan)
    correct, loss = mean(lambda worker: np.array(tested(worker, x, y))) / samples
    expected = {
        "y": best,
        "z": adjoint,
        "hypergradient": total,
        "hypergradient_norm": np.linalg.norm(total),
        "objective": mean(lambda worker: worker.upper(x, best)),
        "lower_distance": np.linalg.norm(y - best),
        "auxiliary_distance": np.linalg.norm(z - adjoint),
        "solution_accuracy": mean(lambda worker: tested(worker, x, best)[0]) / samples,
        "test_accuracy": correct,
        "test_loss": loss,
        "validation_loss": mean(lambda worker: worker.upper(x, y)),
        "weight_auc": np.nan,
        "solution_loss_auc": np.nan,
        # With a server there is one iterate.
        "consensus_error_x": np.nan,
        "consensus_error_y": np.nan,
        "consensus_error_z": np.nan,
    }
    if isinstance(workers[0], HyperCleaning):
        clean = np.hstack([w["definition"]["lower"]["labels"] for w in case["workers"]])
        corrupted = np.hstack([worker.training.labels for worker in workers]) != clean
        losses = sum(sample_losses(worker, x, best) for worker in workers)
        expected["corrupted"] = corrupted
        expected["weight_auc"] = auc(x, corrupted)
        expected["solution_loss_auc"] = auc(-losses, corrupted)
    return expected


def difference(found: Any, expected: Any) -> float:
    """|found - expected| / |expected|, infinite where just one is a number."""
    found = np.atleast_1d(np.array(found, dtype=float))
    expected = np.atleast_1d(np.array(expected, dtype=float))
    if found.shape != expected.shape or (np.isnan(found) != np.isnan(expected)).any():
        return np.inf
    scale = np.linalg.norm(np.nan_to_num(expected))
    return np.linalg.norm(np.nan_to_num(found - expected)) / (scale or 1.0)


def compare(case: dict) -> dict[str, float]:
    """Differences of everything that the program found."""
    x, y, z = (np.array(v) for v in case["point"])
    count = len(case["workers"])
    full = [problem(case, worker, batch=False) for worker in range(count)]
    pairs = {"all": (case["evaluation"], of_all(case, full, x, y, z))}
    for i, worker in enumerate(case["workers"]):
        expected = of_worker(problem(case, i, batch=True), full[i], x, y, z)
        pairs[f"worker {i}"] = (worker["found"], expected)
    differences = {}
    for whose, (found, expected) in pairs.items():
        for name in found.keys() | expected.keys():
            both = name in found and name in expected
            off = difference(found[name], expected[name]) if both else np.inf
            differences[f"{whose}, {name}"] = off
    return differences


def main() -> int:
    """One line a problem."""
    status = 0
    for case in json.loads(Path(sys.argv[1]).read_text()):
        parameters = case["problem"]
        differences = compare(case)
        wrong = {name: off for name, off in differences.items() if not off <= TOLERANCE}
        worst = max(differences, key=differences.get)
        about = f"{parameters['kind']} {parameters.get('activation', '')}".strip()
        print(f"{about}: {len(differences)} compared, worst {differences[worst]:.1e} ({worst})")
        for name, off in sorted(wrong.items()):
            print(f"{about}, {name}: off by {off:.1e} of its norm", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
