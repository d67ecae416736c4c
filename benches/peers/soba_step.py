"""Rate of one SOBA iteration on a 784-h-10 perceptron, in NumPy or in JAX.

The problem is hyper-representation learning: the upper level trains a backbone x on validation
data, the lower level a linear head y on training data,

    g(x, y) = mean_train CE(y phi_x(a), label) + l2/2 |y|^2
    f(x, y) = mean_val CE(y phi_x(a), label)

with phi_x(a) = act(a x) and a bias in both layers. One iteration draws a training and a validation
batch (contiguous slices at random places) and moves all three variables of SOBA,

    y -= rate * d_y g    z -= rate * (d_yy g z + d_y f)    x -= rate * (d_xy g z + d_x f).

The form in which z enters with a plus sign solves for the negative of the adjoint vector, which
spares a negation. Everything runs on one core.

Implementations:
    numpy         closed form; preallocated buffers, ufuncs and products write in place
    jax-closed    the same closed form under jit, lax.scan over the iterations, donated state
    jax-autodiff  the same loop with the directions from jax.grad and jax.vjp
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Protocol

from one_core import pin, single_thread

single_thread(os.environ)

import numpy as np  # noqa: E402  (its BLAS looks at the environment when it is loaded)

Array = Any  # of NumPy or of JAX

IMPLEMENTATIONS = ("numpy", "jax-closed", "jax-autodiff")
FEATURES, CLASSES = 784, 10
TRAINING, VALIDATION = 20_000, 5_000
L2 = 1e-3
RATE_X, RATE_YZ = 1e-3, 1e-2
LINE = 64  # bytes; rows of a buffer are padded to it
TOLERANCE = {"f32": 1e-5, "f64": 1e-10}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("impl", choices=IMPLEMENTATIONS, help="ignored by --check")
    parser.add_argument("batch", type=int, help="samples of each of the two mini-batches")
    parser.add_argument("hidden", type=int, help="width of the hidden layer")
    parser.add_argument("precision", choices=("f32", "f64"), nargs="?", default="f32")
    parser.add_argument("activation", choices=("relu", "tanh"), nargs="?", default="relu")
    parser.add_argument("--seconds", type=float, default=2.5, help="time spent measuring")
    parser.add_argument("--core", type=int, help="core to run on [default: the last allowed]")
    parser.add_argument(
        "--check",
        action="store_true",
        help="compare the closed-form directions of NumPy and JAX with JAX's autodiff and exit",
    )
    args = parser.parse_args()
    if not 1 <= args.batch <= VALIDATION or args.hidden < 1 or args.seconds <= 0:
        parser.error(f"batch is in 1..{VALIDATION}, hidden and seconds are positive")
    return args


@dataclass
class Cell:
    """The size of a problem and everything that is drawn at random for it."""

    batch: int
    hidden: int
    activation: str
    dtype: type[np.floating]
    lower: tuple[np.ndarray, np.ndarray]
    upper: tuple[np.ndarray, np.ndarray]
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray

    @classmethod
    def draw(cls, args: argparse.Namespace) -> "Cell":
        """Samples around one centre per class; a fifth of the labels is wrong.

        The wrong labels keep the probabilities away from 0, and with them the whole run away from
        denormal numbers, which some implementations flush to zero and others compute slowly.
        """
        dtype = np.float64 if args.precision == "f64" else np.float32
        rng = np.random.default_rng(1)
        total = TRAINING + VALIDATION
        label = rng.integers(CLASSES, size=total)
        samples = np.ones((total, FEATURES + 1), dtype)  # the last column is for the bias
        noise = rng.standard_normal((total, FEATURES), dtype)
        centres = 0.1 * rng.standard_normal((CLASSES, FEATURES), dtype)
        np.add(noise, centres[label], out=samples[:, :FEATURES])
        wrong = rng.random(total) < 0.2
        label[wrong] = rng.integers(CLASSES, size=wrong.sum())
        onehot = np.eye(CLASSES, dtype=dtype)[label]
        x = rng.standard_normal((FEATURES + 1, args.hidden), dtype) / dtype(FEATURES**0.5)
        y = rng.standard_normal((args.hidden + 1, CLASSES), dtype) / dtype(args.hidden**0.5)
        z = rng.standard_normal((args.hidden + 1, CLASSES), dtype) / dtype(args.hidden**0.5)
        return cls(
            args.batch,
            args.hidden,
            args.activation,
            dtype,
            (samples[:TRAINING], onehot[:TRAINING]),
            (samples[TRAINING:], onehot[TRAINING:]),
            x,
            y,
            z,
        )

    def avoid_kinks(self) -> None:
        """Round samples and backbone so that products are exact and never 0.

        Otherwise a value within rounding of the kink of relu could get slope 0 in one
        implementation and 1 in the other, which says nothing about either.
        """
        for samples, _ in (self.lower, self.upper):
            samples[:] = np.round(samples * 16) / 16
        self.x[:] = np.round(self.x * 256) / 256
        self.x[-1] += 2.0**-13

    def chunk(self) -> int:
        """Iterations that a runner does at once, such that calling it costs nothing."""
        return max(8, 1_000_000 // (self.batch * self.hidden))


class Runner(Protocol):
    """An implementation of the iteration."""

    def run(self, count: int) -> None:
        """Do that many iterations and wait for them."""

    def directions(self, lower: int, upper: int) -> tuple[np.ndarray, ...]:
        """D_x, D_y and D_z with the batches that start at these samples."""

    def finite(self) -> bool:
        """Whether all variables are finite numbers."""


class NumpyRunner:
    """Both batches stacked, training rows first; the head and z are rows of one matrix."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.rng = np.random.default_rng(2)
        dtype, batch, hidden = cell.dtype, cell.batch, cell.hidden
        rows, line = 2 * batch, LINE // np.dtype(dtype).itemsize
        width = -(-(FEATURES + 1) // line) * line
        self.x = cell.x.copy()
        self.heads = np.ascontiguousarray(np.vstack([cell.y.T, cell.z.T]))  # [y; z]
        self.samples = np.empty((rows, width), dtype)[:, : FEATURES + 1]
        self.phi = np.empty((rows, hidden), dtype)
        relu = cell.activation == "relu"
        self.slope = np.empty((rows, hidden), bool if relu else dtype)
        self.back = np.empty((rows, hidden), dtype)
        self.swapped = np.empty((2 * CLASSES, hidden), dtype)  # [z; y]
        # Classes along the rows, so that sums over classes run along whole rows of samples.
        self.scores = np.empty((2 * CLASSES, rows), dtype)
        self.line = np.empty(rows, dtype)
        self.onehot = np.empty((CLASSES, rows), dtype)
        # Rows of y, then of z; training columns, then validation columns:
        #   [ R   0 ]
        #   [ dR  R ]
        self.m = np.zeros((2 * CLASSES, rows), dtype)
        self.d_heads = np.empty_like(self.heads)
        self.decay = np.empty_like(self.heads)
        self.d_x = np.empty_like(self.x)
        self.l2, self.rate_yz = dtype(L2), dtype(RATE_YZ)

    def differentiate(self, lower: int, upper: int, rate: float) -> None:
        """Fill d_heads with D_y and D_z and d_x with rate * D_x."""
        batch, hidden, heads, m = self.cell.batch, self.cell.hidden, self.heads, self.m
        samples, phi, back, line = self.samples, self.phi, self.back, self.line
        (a, a_labels), (v, v_labels) = self.cell.lower, self.cell.upper
        samples[:batch] = a[lower : lower + batch]
        samples[batch:] = v[upper : upper + batch]
        self.onehot[:, :batch] = a_labels[lower : lower + batch].T
        self.onehot[:, batch:] = v_labels[upper : upper + batch].T

        np.matmul(samples, self.x, out=phi)
        if self.cell.activation == "relu":
            np.maximum(phi, 0, out=phi)
        else:
            np.tanh(phi, out=phi)
        np.matmul(heads[:, :hidden], phi.T, out=self.scores)
        self.scores += heads[:, hidden:]

        p = self.scores[:CLASSES]  # becomes the probabilities
        p -= np.maximum.reduce(p, axis=0, out=line)
        np.exp(p, out=p)
        p /= np.add.reduce(p, axis=0, out=line)
        share = self.cell.dtype(1 / batch)
        # The derivative of the residual along z: p * (s - <p, s>), on training samples only.
        p_train, s = p[:, :batch], self.scores[CLASSES:, :batch]
        d_r = m[CLASSES:, :batch]
        np.multiply(p_train, s, out=d_r)
        s -= np.add.reduce(d_r, axis=0, out=line[:batch])
        np.multiply(p_train, s, out=d_r)
        d_r *= share
        np.subtract(p, self.onehot, out=p)
        np.multiply(p_train, share, out=m[:CLASSES, :batch])
        np.multiply(p[:, batch:], share, out=m[CLASSES:, batch:])

        np.matmul(m, phi, out=self.d_heads[:, :hidden])
        np.add.reduce(m, axis=1, out=self.d_heads[:, hidden])
        np.multiply(heads, self.l2, out=self.decay)
        self.d_heads += self.decay

        # The rate goes in here, at the smallest of the factors of D_x.
        rate = self.cell.dtype(rate)
        np.multiply(heads[CLASSES:, :hidden], rate, out=self.swapped[:CLASSES])
        np.multiply(heads[:CLASSES, :hidden], rate, out=self.swapped[CLASSES:])
        np.matmul(m.T, self.swapped, out=back)
        if self.cell.activation == "relu":
            np.greater(phi, 0, out=self.slope)
        else:
            np.multiply(phi, phi, out=self.slope)
            np.subtract(1, self.slope, out=self.slope)
        back *= self.slope
        np.matmul(samples.T, back, out=self.d_x)

    def run(self, count: int) -> None:
        """Do that many iterations."""
        batch = self.cell.batch
        lower = self.rng.integers(TRAINING - batch + 1, size=count).tolist()
        upper = self.rng.integers(VALIDATION - batch + 1, size=count).tolist()
        for i, j in zip(lower, upper, strict=True):
            self.differentiate(i, j, RATE_X)
            self.x -= self.d_x
            self.d_heads *= self.rate_yz
            self.heads -= self.d_heads

    def directions(self, lower: int, upper: int) -> tuple[np.ndarray, ...]:
        """D_x, D_y and D_z with the batches that start at these samples."""
        self.differentiate(lower, upper, 1.0)
        return self.d_x.copy(), self.d_heads[:CLASSES].T.copy(), self.d_heads[CLASSES:].T.copy()

    def finite(self) -> bool:
        """Whether all variables are finite numbers."""
        return bool(np.isfinite(self.x).all() and np.isfinite(self.heads).all())


class JaxRunner:
    """All iterations of a chunk in one compiled loop that reuses the memory of its state."""

    def __init__(self, cell: Cell, autodiff: bool) -> None:
        import jax
        import jax.numpy as jnp

        jax.config.update("jax_enable_x64", cell.dtype is np.float64)
        self.jax, self.jnp, self.cell = jax, jnp, cell
        self.data = tuple(jnp.asarray(part) for part in (*cell.lower, *cell.upper))
        # Copies: the state is donated, and the cell's arrays are still needed.
        self.state = tuple(jnp.array(part, copy=True) for part in (cell.x, cell.y, cell.z))
        self.key = jax.random.key(2)
        self.differentiate = self.autodiff if autodiff else self.closed_form
        self.loop = jax.jit(self.chunk, static_argnums=3, donate_argnums=0)

    def activate(self, values: Array) -> Array:
        """The activation function."""
        if self.cell.activation == "relu":
            return self.jax.nn.relu(values)
        return self.jnp.tanh(values)

    def slope(self, phi: Array) -> Array:
        """Its derivative, from its value."""
        if self.cell.activation == "relu":
            return (phi > 0).astype(phi.dtype)
        return 1 - phi * phi

    def loss(self, y: Array, x: Array, samples: Array, onehot: Array) -> Array:
        """Mean cross-entropy."""
        scores = self.activate(samples @ x) @ y[:-1] + y[-1]
        return -(onehot * self.jax.nn.log_softmax(scores)).sum(1).mean()

    def autodiff(self, state: tuple, lower: tuple, upper: tuple) -> tuple:
        """D_x, D_y and D_z: one reverse pass through the gradient of g, one through f."""
        x, y, z = state

        def gradient(y: Array, x: Array) -> Array:
            return self.jax.grad(self.loss)(y, x, *lower) + L2 * y

        d_y, pull = self.jax.vjp(gradient, y, x)
        second_y, second_x = pull(z)
        first_y, first_x = self.jax.grad(self.loss, (0, 1))(y, x, *upper)
        return second_x + first_x, d_y, second_y + first_y

    def closed_form(self, state: tuple, lower: tuple, upper: tuple) -> tuple:
        """D_x, D_y and D_z with their formulas, both batches stacked as in NumPy's version."""
        x, y, z = state
        jnp, batch = self.jnp, self.cell.batch
        samples = jnp.concatenate([lower[0], upper[0]])
        onehot = jnp.concatenate([lower[1], upper[1]])
        heads = jnp.concatenate([y, z], axis=1)

        phi = self.activate(samples @ x)
        scores = phi @ heads[:-1] + heads[-1]
        p = self.jax.nn.softmax(scores[:, :CLASSES])
        r = (p - onehot) / batch
        p, s = p[:batch], scores[:batch, CLASSES:]
        d_r = p * (s - (p * s).sum(1, keepdims=True)) / batch
        m = jnp.block([[r[:batch], d_r], [jnp.zeros_like(d_r), r[batch:]]])
        d_heads = jnp.vstack([phi.T @ m, m.sum(0)]) + L2 * heads
        swapped = jnp.concatenate([z, y], axis=1)
        d_x = samples.T @ ((m @ swapped[:-1].T) * self.slope(phi))
        return d_x, d_heads[:, :CLASSES], d_heads[:, CLASSES:]

    def at(self, state: tuple, data: tuple, starts: tuple) -> tuple:
        """D_x, D_y and D_z with the batches that start at these samples."""
        cut, batch = self.jax.lax.dynamic_slice_in_dim, self.cell.batch
        lower = (cut(data[0], starts[0], batch), cut(data[1], starts[0], batch))
        upper = (cut(data[2], starts[1], batch), cut(data[3], starts[1], batch))
        return self.differentiate(state, lower, upper)

    def chunk(self, state: tuple, data: tuple, key: Array, count: int) -> tuple:
        """That many iterations."""

        def body(state: tuple, starts: tuple) -> tuple[tuple, None]:
            d_x, d_y, d_z = self.at(state, data, starts)
            x, y, z = state
            return (x - RATE_X * d_x, y - RATE_YZ * d_y, z - RATE_YZ * d_z), None

        keys, batch = self.jax.random.split(key), self.cell.batch
        lower = self.jax.random.randint(keys[0], (count,), 0, TRAINING - batch + 1)
        upper = self.jax.random.randint(keys[1], (count,), 0, VALIDATION - batch + 1)
        return self.jax.lax.scan(body, state, (lower, upper))[0]

    def run(self, count: int) -> None:
        """Do that many iterations and wait for them."""
        self.key, key = self.jax.random.split(self.key)
        self.state = self.jax.block_until_ready(self.loop(self.state, self.data, key, count))

    def directions(self, lower: int, upper: int) -> tuple[np.ndarray, ...]:
        """D_x, D_y and D_z with the batches that start at these samples."""
        found = self.jax.jit(self.at)(self.state, self.data, (lower, upper))
        return tuple(np.asarray(part) for part in found)

    def finite(self) -> bool:
        """Whether all variables are finite numbers."""
        return all(bool(self.jnp.isfinite(part).all()) for part in self.state)


def runner(impl: str, cell: Cell) -> Runner:
    """An implementation by its name."""
    if impl == "numpy":
        return NumpyRunner(cell)
    return JaxRunner(cell, autodiff=impl == "jax-autodiff")


def measure(run: Callable[[int], None], count: int, seconds: float) -> dict[str, float | int]:
    """Iterations per second over chunks of about a tenth of a second.

    The rate is that of the processor time of the process, which on an idle core is the time that
    passes and on a busy one does not include other programs; its median over the chunks is taken.
    The best chunk by the wall clock is reported next to it.
    """
    run(count)
    started = time.perf_counter()
    run(count)
    repeats = max(1, round(0.1 / (time.perf_counter() - started)))
    by_cpu: list[float] = []
    by_wall: list[float] = []
    end = time.perf_counter() + seconds
    while len(by_wall) < 9 or time.perf_counter() < end:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(repeats):
            run(count)
        by_cpu.append(repeats * count / (time.process_time() - cpu))
        by_wall.append(repeats * count / (time.perf_counter() - wall))
    return {
        "iterations_per_second": float(np.median(by_cpu)),
        "best_wall": max(by_wall),
        "chunks": len(by_wall),
        "iterations": len(by_wall) * repeats * count,
    }


def kernels(impl: str) -> str:
    """The kernels behind the matrix products of an implementation."""
    if impl != "numpy":
        return "XLA"
    from threadpoolctl import threadpool_info

    found = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    if any(pool["num_threads"] != 1 for pool in found):
        sys.exit(f"soba_step.py: the BLAS of NumPy runs more than one thread: {found}")
    names = (f"{p['internal_api']} {p['version']} {p.get('architecture', '')}" for p in found)
    return ", ".join(name.strip() for name in names) or "unknown"


def check(cell: Cell, precision: str) -> int:
    """Compare the closed forms with autodiff; the exit status."""
    cell.avoid_kinks()
    starts = (TRAINING - cell.batch, (VALIDATION - cell.batch) // 2)
    expected = runner("jax-autodiff", cell).directions(*starts)
    status = 0
    for impl in IMPLEMENTATIONS[:2]:
        found = runner(impl, cell).directions(*starts)
        errors = {
            name: float(np.linalg.norm(a - b) / np.linalg.norm(b))
            for name, a, b in zip(("d_x", "d_y", "d_z"), found, expected, strict=True)
        }
        ok = all(error <= TOLERANCE[precision] for error in errors.values())
        status = status if ok else 1
        print(json.dumps({"impl": impl, "precision": precision, "relative": errors, "ok": ok}))
    return status


def main() -> int | str:
    """Measure or check."""
    args = arguments()
    pin(args.core)
    cell = Cell.draw(args)
    if args.check:
        return check(cell, args.precision)
    chosen = runner(args.impl, cell)
    packages = ("numpy",) if args.impl == "numpy" else ("jax", "jaxlib")
    result = {
        "impl": args.impl,
        "batch": args.batch,
        "hidden": args.hidden,
        "precision": args.precision,
        "activation": args.activation,
        **measure(chosen.run, cell.chunk(), args.seconds),
        "finite": chosen.finite(),
        "kernels": kernels(args.impl),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in packages},
    }
    print(json.dumps(result))
    return 0 if result["finite"] else "soba_step.py: the variables are not finite"


if __name__ == "__main__":
    sys.exit(main())
