"""Rate of one SOBA iteration on the selection of regularization, in Numba or in JAX.

The upper level chooses an l2 weight for each feature of a logistic regression by its validation
loss,

    g(x, y) = mean_train log(1 + exp(-b a'y)) + 1/2 sum_j exp(x_j) y_j^2
    f(x, y) = mean_val log(1 + exp(-b a'y))

One iteration draws a training and a validation batch (contiguous slices at random places) and moves
all three variables of SOBA,

    y -= rate * d_y g    z -= rate * (d_yy g z + d_y f)    x -= rate * exp(x) y z.

Samples are stored times their label b. Everything runs on one core.

Implementations:
    numba         loops over samples and features, compiled with fastmath
    jax-closed    the formulas under jit, lax.scan over the iterations, donated state
    jax-autodiff  the same loop with the directions from jax.grad and jax.vjp
"""

import argparse
import json
import os
import platform
import sys
from importlib.metadata import version
from typing import Any

from one_core import pin, single_thread

single_thread(os.environ)

import numpy as np  # noqa: E402  (its BLAS looks at the environment when it is loaded)

from soba_step import measure  # noqa: E402

Array = Any  # of NumPy or of JAX

PACKAGES = {
    "numba": ("numpy", "numba"),
    "jax-closed": ("jax", "jaxlib"),
    "jax-autodiff": ("jax", "jaxlib"),
}
TRAINING, VALIDATION = 49_990, 91_701
RATE_X, RATE_YZ = 1e-2, 5e-2
TOLERANCE = {"f32": 1e-4, "f64": 1e-12}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("impl", choices=PACKAGES, help="ignored by --check")
    parser.add_argument("batch", type=int, help="samples of each of the two mini-batches")
    parser.add_argument("features", type=int, nargs="?", default=22)
    parser.add_argument("precision", choices=("f32", "f64"), nargs="?", default="f32")
    parser.add_argument("--seconds", type=float, default=2.5, help="time spent measuring")
    parser.add_argument("--core", type=int, help="core to run on [default: the last allowed]")
    parser.add_argument(
        "--check", action="store_true", help="compare one iteration of all implementations and exit"
    )
    args = parser.parse_args()
    if not 1 <= args.batch <= TRAINING or args.features < 1 or args.seconds <= 0:
        parser.error(f"batch is in 1..{TRAINING}, features and seconds are positive")
    return args


class Problem:
    """Samples and the start, as Sobaya makes them: normal features, a normal separator, noise."""

    def __init__(self, batch: int, features: int, precision: str) -> None:
        self.batch = batch
        self.dtype = np.float64 if precision == "f64" else np.float32
        rng = np.random.default_rng(1)
        a = rng.standard_normal((TRAINING + VALIDATION, features))
        b = np.sign(a @ rng.standard_normal(features) + rng.standard_normal(len(a)))
        samples = (a * b[:, None]).astype(self.dtype)
        self.lower, self.upper = samples[:TRAINING].copy(), samples[TRAINING:].copy()
        x = np.log(rng.uniform(size=features))
        y = rng.standard_normal(features)
        self.start = tuple(v.astype(self.dtype) for v in (x, y, np.zeros(features)))


class NumbaRunner:
    """One pass over each batch: both margins of a sample, then its part of every sum."""

    def __init__(self, problem: Problem) -> None:
        import numba

        self.problem = problem
        self.state = tuple(v.copy() for v in problem.start)
        self.rng = np.random.default_rng(2)
        self.loop = numba.njit(fastmath=True)(self.iterations)

    @staticmethod
    def iterations(
        state: tuple, lower: Array, upper: Array, starts: Array, batch: int, factors: tuple
    ) -> None:
        """As many as there are starts."""
        x, y, z = state
        rate_x, rate_yz, share = factors
        features = len(x)
        one = rate_x / rate_x
        weight, d_y, d_z = np.empty_like(x), np.empty_like(x), np.empty_like(x)
        for k in range(len(starts)):
            for j in range(features):
                weight[j] = np.exp(x[j])
                d_y[j] = weight[j] * y[j]
                d_z[j] = weight[j] * z[j]
            for i in range(starts[k, 0], starts[k, 0] + batch):
                margin = change = one - one
                for j in range(features):
                    margin += lower[i, j] * y[j]
                    change += lower[i, j] * z[j]
                p = one / (one + np.exp(margin))
                first, second = p * share, p * (one - p) * change * share
                for j in range(features):
                    d_y[j] -= first * lower[i, j]
                    d_z[j] += second * lower[i, j]
            for i in range(starts[k, 1], starts[k, 1] + batch):
                margin = one - one
                for j in range(features):
                    margin += upper[i, j] * y[j]
                first = share / (one + np.exp(margin))
                for j in range(features):
                    d_z[j] -= first * upper[i, j]
            for j in range(features):
                x[j] -= rate_x * weight[j] * y[j] * z[j]
                y[j] -= rate_yz * d_y[j]
                z[j] -= rate_yz * d_z[j]

    def run(self, count: int) -> None:
        """Do that many iterations at random places."""
        batch = self.problem.batch
        ends = [TRAINING - batch + 1, VALIDATION - batch + 1]
        self.at(self.rng.integers(ends, size=(count, 2)))

    def at(self, starts: np.ndarray) -> None:
        """One iteration with the batches that start at each of these samples."""
        problem = self.problem
        # All of one type: a quotient by an integer would be a double, and slow down the loops.
        factors = tuple(map(problem.dtype, (RATE_X, RATE_YZ, 1 / problem.batch)))
        self.loop(self.state, problem.lower, problem.upper, starts, problem.batch, factors)


class JaxRunner:
    """All iterations of a chunk in one compiled loop that reuses the memory of its state."""

    def __init__(self, problem: Problem, autodiff: bool) -> None:
        import jax
        import jax.numpy as jnp

        jax.config.update("jax_enable_x64", problem.dtype is np.float64)
        self.jax, self.jnp, self.problem = jax, jnp, problem
        self.data = jnp.asarray(problem.lower), jnp.asarray(problem.upper)
        self.state = tuple(jnp.array(v, copy=True) for v in problem.start)
        self.key = jax.random.key(2)
        self.differentiate = self.autodiff if autodiff else self.closed_form
        self.loop = jax.jit(self.scan, donate_argnums=0)
        self.drawn = jax.jit(self.draw_and_scan, static_argnums=3, donate_argnums=0)

    def loss(self, y: Array, samples: Array) -> Array:
        """Mean logistic loss."""
        return self.jax.nn.softplus(-(samples @ y)).mean()

    def autodiff(self, state: tuple, lower: Array, upper: Array) -> tuple:
        """D_x, D_y and D_z: one reverse pass through the gradient of g, one through f."""
        x, y, z = state

        def gradient(y: Array, x: Array) -> Array:
            return self.jax.grad(self.loss)(y, lower) + self.jnp.exp(x) * y

        d_y, pull = self.jax.vjp(gradient, y, x)
        second_y, second_x = pull(z)
        return second_x, d_y, second_y + self.jax.grad(self.loss)(y, upper)

    def closed_form(self, state: tuple, lower: Array, upper: Array) -> tuple:
        """D_x, D_y and D_z with their formulas."""
        x, y, z = state
        weighed = self.jnp.exp(x) * y
        p = self.jax.nn.sigmoid(-(lower @ y))
        p_upper = self.jax.nn.sigmoid(-(upper @ y))
        share = 1 / self.problem.batch
        d_y = weighed - (p * share) @ lower
        second = (p * (1 - p) * (lower @ z) * share) @ lower
        d_z = second + self.jnp.exp(x) * z - (p_upper * share) @ upper
        return weighed * z, d_y, d_z

    def scan(self, state: tuple, data: tuple, starts: Array) -> tuple:
        """One iteration with the batches that start at each of these samples."""
        cut, batch = self.jax.lax.dynamic_slice_in_dim, self.problem.batch

        def body(state: tuple, start: Array) -> tuple[tuple, None]:
            lower, upper = cut(data[0], start[0], batch), cut(data[1], start[1], batch)
            d_x, d_y, d_z = self.differentiate(state, lower, upper)
            x, y, z = state
            return (x - RATE_X * d_x, y - RATE_YZ * d_y, z - RATE_YZ * d_z), None

        return self.jax.lax.scan(body, state, starts)[0]

    def draw_and_scan(self, state: tuple, data: tuple, key: Array, count: int) -> tuple:
        """That many iterations at random places."""
        batch = self.problem.batch
        ends = self.jnp.array([TRAINING - batch + 1, VALIDATION - batch + 1])
        return self.scan(state, data, self.jax.random.randint(key, (count, 2), 0, ends))

    def run(self, count: int) -> None:
        """Do that many iterations at random places and wait for them."""
        self.key, key = self.jax.random.split(self.key)
        self.state = self.jax.block_until_ready(self.drawn(self.state, self.data, key, count))

    def at(self, starts: np.ndarray) -> None:
        """One iteration with the batches that start at each of these samples."""
        self.state = self.loop(self.state, self.data, self.jnp.asarray(starts))


def runner(impl: str, problem: Problem) -> NumbaRunner | JaxRunner:
    """An implementation by its name."""
    if impl == "numba":
        return NumbaRunner(problem)
    return JaxRunner(problem, autodiff=impl == "jax-autodiff")


def check(problem: Problem, precision: str) -> int:
    """Compare some iterations of all implementations; the exit status."""
    starts = np.array([[0, VALIDATION - problem.batch], [17, 5], [TRAINING - problem.batch, 99]])
    states = {}
    for impl in PACKAGES:
        chosen = runner(impl, problem)
        chosen.at(starts)
        states[impl] = np.concatenate([np.asarray(v) for v in chosen.state])
    expected = states["jax-autodiff"]
    status = 0
    for impl, found in states.items():
        error = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
        status = status if error <= TOLERANCE[precision] else 1
        print(json.dumps({"impl": impl, "precision": precision, "relative": error}))
    return status


def main() -> int | str:
    """Measure or check."""
    args = arguments()
    pin(args.core)
    problem = Problem(args.batch, args.features, args.precision)
    if args.check:
        return check(problem, args.precision)
    chosen = runner(args.impl, problem)
    rates = measure(chosen.run, max(8, 8_000_000 // (args.batch * args.features)), args.seconds)
    result = {
        "impl": args.impl,
        "batch": args.batch,
        "features": args.features,
        "precision": args.precision,
        **rates,
        "finite": all(bool(np.isfinite(np.asarray(v)).all()) for v in chosen.state),
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in PACKAGES[args.impl]},
    }
    print(json.dumps(result))
    return 0 if result["finite"] else "logistic_step.py: the variables are not finite"


if __name__ == "__main__":
    sys.exit(main())
