#!/usr/bin/env bash
# Hostile bytes for every decoder and reader; see usage() below.
set -euo pipefail

default=10000000

usage() {
    cat <<END
Usage: [INPUTS=NUMBER] $me [--help]

Prepares the machine (see prepare.sh), installs cargo-fuzz and the nightly toolchain
if they are missing, builds the targets of fuzz/ with the address sanitizer, and runs
INPUTS inputs ($default if not set) through them, each target its share, as many
at a time as there are cores. Inputs start from true packets and good files, which each
target writes.

A target fails when a decoder or reader panics, when arithmetic overflows, when memory is
read or written out of bounds, when decoding allocates more than the vector takes, or when
an input takes more than 10 seconds. The input is then in fuzz/artifacts/.

docs/results/fuzz.md is written if INPUTS is not below $default.

Exit status: 0 nothing found, 1 something found, 2 something is missing that this
script cannot install.
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
inputs=${INPUTS:-$default}
[[ $inputs =~ ^[1-9][0-9]{0,11}$ ]] || fail 2 "INPUTS must be a number of 1 or more, found '$inputs'"

cd -- "$root"
# libFuzzer is C++.
have c++ || packages+=(g++)
prepare_system
prepare_rust
cargo +nightly --version > /dev/null 2>&1 ||
    rustup toolchain install nightly --profile minimal ||
    fail 2 "no nightly toolchain, and rustup cannot install one: cargo-fuzz needs it for the sanitizer"
cargo fuzz --version > /dev/null 2>&1 || cargo install --locked cargo-fuzz ||
    fail 2 "no cargo-fuzz, and cargo cannot install it"

cargo +nightly fuzz build < /dev/null || fail 1 "the targets could not be built"
mapfile -t targets < <(cargo +nightly fuzz list)
triple=$(rustc +nightly -vV | sed -n 's/^host: //p')
built=${CARGO_TARGET_DIR:-$root/fuzz/target}/$triple/release
runs=$(((inputs + ${#targets[@]} - 1) / ${#targets[@]}))
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

# As `cargo fuzz run` would, which waits for other builds.
run() { # TARGET
    local corpus=$work/$1.corpus
    mkdir -p -- "$corpus" "$root/fuzz/artifacts/$1"
    if SEEDS=$corpus ASAN_OPTIONS=detect_odr_violation=0 "$built/$1" "$corpus" \
        -artifact_prefix="$root/fuzz/artifacts/$1/" -runs="$runs" -seed=1 -max_len=4096 \
        -timeout=10 -print_final_stats=1 < /dev/null > "$work/$1.log" 2>&1; then
        echo "nothing found" > "$work/$1.result"
    else
        echo "**fails**" > "$work/$1.result"
    fi
    say "$1: $(< "$work/$1.result")"
}

say "$runs inputs for each of ${#targets[@]} targets"
slots=$(cores)
for target in "${targets[@]}"; do
    while (($(jobs -rp | wc -l) >= slots)); do wait -n; done
    run "$target" &
done
wait

statistic() { # TARGET NAME
    [[ ! -f $work/$1.log ]] || sed -n "s/^stat::$2: *//p" "$work/$1.log"
}

table() { # [speed]
    local target cells
    echo "| target | inputs | edges reached | result |${1:+ inputs a second here |}"
    echo "|---|---:|---:|---|${1:+---:|}"
    for target in "${targets[@]}"; do
        cells="$target | $(statistic "$target" number_of_executed_units)"
        cells+=" | $(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$work/$target.log" | tail -n 1)"
        cells+=" | $(< "$work/$target.result") |${1:+ $(statistic "$target" average_exec_per_sec) |}"
        echo "| $cells"
    done
}

page() {
    cat <<END
# Decoders against hostile bytes

Written by \`bash jobs/fuzz.sh\` at git $(git describe --always --dirty): libFuzzer with the address sanitizer, overflow checks on, from true
packets as seeds. Each input is tried as a packet, as a payload behind a true header and as a part of a true
packet, by a decoder that its first byte picks: every value code, index code, norm and rounding of the
kind, dimensions 1, 100 and 5000, both precisions (\`fuzz/src/\`). \`message\` is what the server gathers
from a rank: envelope, report, losses, packets. \`svmlight\` and \`idx\` read their inputs as data files, plain and
unpacked; \`config\` and \`sweep\` read and plan them.

Nothing found means: no panic, no overflow, no access out of bounds, no more bytes allocated in a decoder's
whole life than the vector that it adds to takes (and 64), and no number that is not finite out of
codes that have none. \`message\` may allocate 8 times its length (and 8192), \`idx\` 32 times (and 1 MiB) for a plain
file. A config that is taken is the same plan, with the same hash, when it is written back and read again.

END
    table
}

# A target passes if it says so and has done all of its inputs; one that left no result does not.
failed=0
for target in "${targets[@]}"; do
    log=$work/$target.log result=$work/$target.result
    done_inputs=$(statistic "$target" number_of_executed_units)
    if [[ ! -f $result || ! $done_inputs =~ ^[0-9]+$ ]] || ((done_inputs < runs)); then
        echo "**fails**: ${done_inputs:-none} of $runs inputs done" > "$result"
    fi
    [[ $(< "$result") == "nothing found" ]] && continue
    failed=$((failed + 1))
    [[ ! -f $log ]] || tail -n 40 -- "$log" >&2
done
table with-speed
if ((inputs >= default)); then page > docs/results/fuzz.md; fi
((failed == 0)) || fail 1 "$failed of ${#targets[@]} targets fail; their inputs are in fuzz/artifacts/"
say "nothing found"
