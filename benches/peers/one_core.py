"""What makes a program run on one core with one thread."""

import os
from collections.abc import MutableMapping


def pin(core: int | None) -> int:
    """Keep this process and its children on one core, by default the last one allowed."""
    core = max(os.sched_getaffinity(0)) if core is None else core
    os.sched_setaffinity(0, {core})
    return core


def single_thread(environment: MutableMapping[str, str]) -> None:
    """Set the variables that BLAS libraries, OpenMP and XLA read when they are loaded."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"):
        environment[name] = "1"
    environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    environment["JAX_PLATFORMS"] = "cpu"
    # Unset for all, so that each program runs with the kernels and block sizes it gets when nobody
    # tunes anything. A value left over from other work would pin them, to slower ones on another
    # processor or another build: NumPy brings its own OpenBLAS, Sobaya uses the system's. The table
    # names the kernels in use; an old OpenBLAS falls back to slow ones on a processor it does not
    # know.
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        environment.pop(name, None)
