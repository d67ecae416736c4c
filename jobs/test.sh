#!/usr/bin/env bash
# Every test of the project; see usage() below.
set -euo pipefail

usage() {
    cat <<END
Usage: $me [--help]

Prepares the machine (see prepare.sh) and runs every test:
  program    cargo test --release --locked; tests over MPI start mpirun themselves
  example    examples/own-problem: its derivatives are checked, and it runs under MPI
  analysis   pytest
  style      ruff for Python; shellcheck for the scripts, if it is installed

The last line counts the tests. Exit status: 0 all passed, 1 not, 2 something is
missing that this script cannot install.
END
}

# shellcheck source=jobs/prepare.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/prepare.sh"
case ${1-} in
    '') ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) fail 2 "unknown argument $1 (see $me --help)" ;;
esac

cd -- "$root"
prepare requirements-dev.txt
# tests/library/numpy.rs compares with NumPy: here it must be found.
export SOBAYA_PYTHON=$python
# Tests run side by side, and each starts ranks of its own.
export OMPI_MCA_mpi_yield_when_idle=1
output=$(mktemp)
trap 'rm -f -- "$output"' EXIT
wrong=()

check() { # NAME COMMAND...
    local name=$1
    shift
    say "$name"
    "$@" < /dev/null 2>&1 | tee -a -- "$output" || wrong+=("$name")
}

python_style() {
    local status=0
    (cd analysis && "$python" -m ruff check . && "$python" -m ruff format --check .) || status=1
    # Scripts on their own are held to the default rules.
    "$python" -m ruff check --isolated --line-length 100 jobs tests &&
        "$python" -m ruff format --check --isolated --line-length 100 jobs tests || status=1
    "$python" -m ruff check benches && "$python" -m ruff format --check benches || status=1
    return "$status"
}

# A problem of a user's own, as docs/own-problem.md says.
own_problem() {
    local folder=examples/own-problem runs mine=${program%/*}/own-problem
    runs=$(mktemp -d) || return 1
    # With the tests, whose build of the library it then shares.
    cargo build --release --locked --workspace --bins --tests &&
        "$mine" check "$folder/ridge.json" --data "$folder" --gradients &&
        launch 2 "$mine" run "$folder/ridge.json" --set iterations=100 --data "$folder" --out "$runs/one" &&
        "$mine" sweep "$folder/sweep.json" --data "$folder" --out "$runs/sweep"
    local status=$?
    # A file that is not there is an error of the data, and no run.
    if ((status == 0)); then
        "$mine" check "$folder/ridge.json" --data "$runs"
        (($? == 3)) || status=1
    fi
    rm -rf -- "$runs"
    return "$status"
}

analysis_tests() { (cd analysis && "$python" -m pytest -q -n auto); }

check "cargo test" cargo test --release --locked --no-fail-fast
check "example" own_problem
check "analysis tests" analysis_tests
check "ruff" python_style
if have shellcheck; then
    check "shellcheck" shellcheck -x jobs/*.sh jobs/cluster/*.sh jobs/slurm.sbatch tests/cluster/*.sh .ci/run
fi

# Both runners write "12 passed" and "1 failed" on their last lines.
count() { # passed|failed
    { grep -E '^test result: |^(=+ )?[0-9]+ (passed|failed).* in ' "$output" || true; } |
        { grep -oE "[0-9]+ $1" || true; } | awk '{ sum += $1 } END { print sum + 0 }'
}
summary="$(count passed) passed, $(count failed) failed"
if ((${#wrong[@]} > 0)); then
    printf -v list '%s, ' "${wrong[@]}"
    fail 1 "$summary; not right: ${list%, }"
fi
say "$summary"
