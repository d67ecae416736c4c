#!/usr/bin/env bash
# Prepares a machine for building, running and testing; see usage() below.
# The other scripts here source this file for its functions and settings.

me=$(basename -- "$0")
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034 # used by the scripts that source this one
program=${CARGO_TARGET_DIR:-$root/target}/release/sobaya
python=$root/.venv/bin/python
packages=(openmpi-bin libopenmpi-dev libhdf5-dev libopenblas-dev libclang-dev pkg-config)
python_least=3.11

usage_prepare() {
    cat <<END_OF_USAGE
Usage: $me [--help]

Makes this machine ready to build sobaya and to analyse its logs:

  1. libraries: on Debian and Ubuntu, packages that are missing are installed
     with apt-get (as root or through sudo); elsewhere, what is missing is named
  2. Rust: cargo is there and new enough
  3. Python: a virtual environment .venv with analysis/requirements.txt

What is there already is left alone: on a prepared machine no root and no
network is needed. The folder of the build is \$CARGO_TARGET_DIR, or target.

Exit status: 0 ready, 1 an installation failed, 2 something is missing that
this script cannot install
END_OF_USAGE
}

say() { printf '%s\n' "$me: $*"; }

fail() { # STATUS MESSAGE...
    local status=$1
    shift
    printf '%s\n' "$me: $*" >&2
    exit "$status"
}

have() { command -v "$1" > /dev/null 2>&1; }

# --- libraries ------------------------------------------------------------------------------------

as_root() {
    if [[ $(id -u) == 0 ]]; then "$@"; else sudo -- "$@"; fi
}

is_installed() { # PACKAGE
    [[ $(dpkg -s -- "$1" 2> /dev/null) == *'Status: install ok installed'* ]]
}

list_of_requirements() {
    cat <<END_OF_LIST
What is needed, and how to check that it is there:
  C compiler                        cc --version
  MPI with its development files    mpicc --version; mpirun --version
  pkg-config                        pkg-config --version
  HDF5 1.10 or later (C, serial)    pkg-config --modversion hdf5
  OpenBLAS with LAPACK              pkg-config --modversion openblas
  libclang                          ldconfig -p | grep libclang, or the variable LIBCLANG_PATH
  Python $python_least or later, with venv   python3 -m venv --help
  Debian, Ubuntu: build-essential ${packages[*]} python3-venv
  Fedora, RHEL:   gcc openmpi-devel hdf5-devel openblas-devel clang-devel pkgconf python3
                  then: module load mpi
  clusters:       modules of gcc, Open MPI, HDF5, OpenBLAS, LLVM and Python
END_OF_LIST
}

prepare_debian() {
    local package missing=()
    for package in "${packages[@]}"; do
        is_installed "$package" || missing+=("$package")
    done
    have cc || missing+=(gcc libc6-dev)
    find_python > /dev/null || missing+=(python3-venv)
    ((${#missing[@]} > 0)) || return 0
    if [[ $(id -u) != 0 ]] && ! have sudo; then
        fail 2 "these packages are missing, and this user is not root and has no sudo:
  ${missing[*]}
Have them installed (apt-get install ${missing[*]}) and run this again."
    fi
    say "installing ${missing[*]}"
    as_root apt-get -q update || say "the package lists could not be refreshed; going on with the old ones"
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -q install -y --no-install-recommends "${missing[@]}" < /dev/null ||
        fail 1 "apt-get could not install ${missing[*]}"
    hash -r
}

prepare_elsewhere() {
    local missing=()
    have cc || missing+=("a C compiler")
    if ! have mpicc || ! have mpirun; then missing+=("MPI"); fi
    have pkg-config || missing+=("pkg-config")
    if have pkg-config; then
        pkg-config --exists hdf5 || [[ -n ${HDF5_DIR-} ]] || missing+=("HDF5")
        pkg-config --exists openblas || missing+=("OpenBLAS")
    fi
    # Every place where the build looks for libclang cannot be looked at here.
    [[ -n ${LIBCLANG_PATH-} ]] || have clang || have llvm-config ||
        ldconfig -p 2> /dev/null | grep -q libclang || missing+=("libclang")
    find_python > /dev/null || missing+=("Python $python_least or later with venv")
    ((${#missing[@]} > 0)) || return 0
    printf -v missing[0] '%s, ' "${missing[@]}"
    fail 2 "not found on this system: ${missing[0]%, }.
This script installs packages on Debian and Ubuntu only; install what is missing
and run this again.
$(list_of_requirements)"
}

# --- Rust -----------------------------------------------------------------------------------------

at_least() { # VERSION LEAST
    [[ $(printf '%s\n' "$1" "$2" | sort -V | head -n 1) == "$2" ]]
}

prepare_rust() {
    local least found
    least=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$root/Cargo.toml")
    if ! have cargo && [[ -x ${CARGO_HOME:-$HOME/.cargo}/bin/cargo ]]; then
        PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
    fi
    have cargo || fail 2 "cargo is not on PATH: install Rust $least or later with rustup"
    found=$(cargo --version | cut -d ' ' -f 2) || fail 2 "cargo does not run: install Rust $least or later with rustup"
    at_least "$found" "$least" ||
        fail 2 "cargo is version $found, Rust $least or later is needed: run rustup update"
}

# --- Python ---------------------------------------------------------------------------------------

# A Python that is new enough and can make virtual environments.
find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 /usr/bin/python3 python3.{14,13,12,11}; do
        "$candidate" -c "import sys, venv, ensurepip
sys.exit(sys.version_info < (${python_least/./, }))" > /dev/null 2>&1 || continue
        printf '%s\n' "$candidate"
        return
    done
    return 1
}

# The virtual environment with the packages of a file; a copy of the lists shows what is in it.
prepare_python() { # REQUIREMENTS
    local file=$root/analysis/$1 stamp=$root/.venv/installed-$1 lists base
    lists=$(cat -- "$root/analysis/requirements.txt" "$file")
    if "$python" -c '' 2> /dev/null && [[ -f $stamp && $(< "$stamp") == "$lists" ]]; then
        return
    fi
    if ! "$python" -m pip --version > /dev/null 2>&1; then
        base=$(find_python) || fail 2 "no Python $python_least or later with venv and pip was found
(set PYTHON to one that is not on PATH)"
        say "making the Python environment .venv"
        "$base" -m venv --clear "$root/.venv" || fail 1 "cannot make $root/.venv"
    fi
    say "installing the Python packages of analysis/$1"
    "$python" -m pip install --quiet --disable-pip-version-check --no-input -r "$file" ||
        fail 1 "pip could not install the packages of analysis/$1"
    printf '%s\n' "$lists" > "$stamp"
}

# --- building and running -------------------------------------------------------------------------

prepare_system() {
    if have dpkg && have apt-get; then prepare_debian; else prepare_elsewhere; fi
}

prepare() { # REQUIREMENTS
    prepare_system
    prepare_rust
    prepare_python "$1"
}

build() {
    cargo build --release --locked --manifest-path "$root/Cargo.toml" < /dev/null ||
        fail 1 "the build failed"
}

# Cores that this process may use, within a container's limit.
# (nproc would count threads that OpenMP may use.)
cores() {
    local count quota period
    count=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc 2> /dev/null || echo 1)
    if read -r quota period 2> /dev/null < /sys/fs/cgroup/cpu.max && [[ $quota != max ]]; then
        quota=$(((quota + period - 1) / period))
        ((quota < count)) && count=$quota
    fi
    printf '%s\n' "$count"
}

# One rank a core and at most one a worker; $RANKS if set.
ranks_for() { # WORKERS
    local count
    count=${RANKS:-$(cores)}
    [[ $count =~ ^[1-9][0-9]{0,4}$ ]] || fail 2 "RANKS must be a number of 1 or more, found '$count'"
    printf '%s\n' "$((count < $1 ? count : $1))"
}

# mpirun, told to leave the error messages to the program where it can be told so.
launch() { # RANKS COMMAND...
    local count=$1 quiet=()
    shift
    # Ranks that wait give way to others when no core is left over.
    ((count < $(cores))) || export OMPI_MCA_mpi_yield_when_idle=1
    if mpirun -q -n 1 true < /dev/null > /dev/null 2>&1; then quiet=(-q); fi
    mpirun ${quiet[@]+"${quiet[@]}"} -n "$count" "$@" < /dev/null
}

# Ranks are the parallelism: one thread each.
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
# Open MPI counts cores in its own way and refuses more ranks than it finds: it is told not to.
export OMPI_MCA_rmaps_base_oversubscribe=1 PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
# Containers run as root, which Open MPI refuses by default.
if [[ $(id -u) == 0 ]]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    export PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    set -euo pipefail
    case ${1-} in
        '') prepare requirements.txt && say "ready" ;;
        -h | --help) usage_prepare ;;
        *) fail 2 "unknown argument $1 (see $me --help)" ;;
    esac
fi
