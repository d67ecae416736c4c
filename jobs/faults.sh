#!/usr/bin/env bash
# What a run survives, tried in full; see usage() below.
set -euo pipefail

usage() {
    cat <<END
Usage: $me [--no-cluster] [--help]

Prepares the machine (see prepare.sh), installs strace if it is missing, and runs the
tests that docs/reliability.md rests on with as many trials as it promises: kills,
signals, crashes at every file system call, loss of power, full and read-only disks,
damaged checkpoints, two runs in one folder, many workers and ranks. Then, if it is
there and not refused by --no-cluster, tests/cluster/run.sh: jobs on a private Slurm.

Everything takes about an hour, a quarter of it for the cluster. Full and read-only
disks and jobs on a cluster need root; what cannot be tried is named.

What was seen is written to docs/results/reliability.md.

Exit status: 0 everything holds, 1 something does not, 2 something is missing that
this script cannot install.
END
}

# shellcheck source=jobs/prepare.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/prepare.sh"
cluster=$root/tests/cluster/run.sh
case ${1-} in
    '') ;;
    --no-cluster) cluster='' ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) fail 2 "unknown argument $1 (see $me --help)" ;;
esac

cd -- "$root"
packages+=(strace)
prepare_system
prepare_rust
have strace || say "there is no strace: crashes at file system calls and loss of power are not tried"

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
output=$work/output
commit=$(git describe --always --dirty)
failed=0

# The library's own tests are of the lock, the journal and the checkpoint's manifest, among others.
SOBAYA_TRIALS=full cargo test --release --locked --no-fail-fast --lib \
    --test survival --test resume --test same_bits --test state --test faults --test log_tools --test memory_growth \
    -- --nocapture --test-threads=1 < /dev/null 2>&1 | tee -- "$output" || failed=1
if [[ -n $cluster && -f $cluster ]]; then
    say "jobs on a private Slurm"
    status=0
    bash "$cluster" --page "$work/cluster" || status=$?
    if ((status == 77)); then
        echo "skipped: jobs on a private Slurm: this machine does not permit them" >> "$output"
    elif ((status != 0)); then
        failed=1
    fi
fi

# The harness does not end the line on which it names a test before the test writes its own.
said() { # WORD
    { grep -o -- "$1: .*" "$output" || true; } | sed "s/^$1: //"
}

files() {
    awk '/^ *Running / { name = $2 == "unittests" ? "src (unit tests)" : $2; sub("/main.rs", "", name) }
        /^test result: / { printf "| %s | %d | %d |\n", name, $4, $6 }' "$output"
}

page() {
    cat <<END
# What a run survives, as tried

Written by \`bash jobs/faults.sh\` on $(date -u +%F), at git $commit: $(cores) cores, Linux $(uname -r | cut -d - -f 1), $(mpirun --version | head -n 1 | sed 's/^mpirun //; s/[()]//g').
"Bitwise the uncut run" means the same hash of the state, and that \`sobaya log diff\` finds no difference to the
log of a run of the same config that nothing disturbed. What is promised is in [reliability.md](../reliability.md).

| what happens | trials | what was seen |
|---|---:|---|
END
    said reliability | sed 's/^/| /; s/$/ |/'
    printf '\nTests that this comes from:\n\n| file | passed | failed |\n|---|---:|---:|\n'
    files
    if [[ -n $(said skipped) ]]; then
        printf '\nNot tried here:\n\n'
        said skipped | sort -u | sed 's/^/- /'
    fi
    if ((failed > 0)); then printf '\n**Something does not hold**: see the tests that failed.\n'; fi
    if [[ -f $work/cluster ]]; then
        echo
        sed 's/^#/##/' "$work/cluster"
    fi
}

page > docs/results/reliability.md
((failed == 0)) || fail 1 "something does not hold; docs/results/reliability.md names it"
say "everything holds; see docs/results/reliability.md"
