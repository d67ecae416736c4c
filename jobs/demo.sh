#!/usr/bin/env bash
# Four algorithms on a small data set, and a report that compares them; see usage() below.
set -euo pipefail

usage() {
    cat <<END
Usage: $me [--help]

Trains a digit classifier on 8 workers with very different data by four
algorithms, three of which upload a tenth of the bytes, and compares them.
It prepares the machine and builds the program first (see prepare.sh), which
takes some minutes the first time; after that the demo takes under a minute.

The config is configs/demo.json; the data is built into the program.
Written to runs/demo (what an earlier demo left there is replaced):
  soba/ c-soba/ cm-soba/ ef-soba/   the runs: config.json, log.h5, summary.json
  report/report.html                figures and tables on one page

Environment: RANKS, the number of MPI ranks (1 to 8; one a core if not set).
The number of ranks changes the time that the runs take, not their results.
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
prepare requirements.txt
build

out=runs/demo
algorithms=(soba c-soba cm-soba ef-soba)
rm -rf -- "$out/report" "${algorithms[@]/#/$out/}"
ranks=$(ranks_for 8)
SECONDS=0
table=$(mktemp)
trap 'rm -f -- "$table"' EXIT

run() { # ALGORITHM [OPTIONS...]
    local name=$1
    shift
    say "$name on $ranks ranks"
    launch "$ranks" "$program" run configs/demo.json --out "$out/$name" \
        --set name="$name" --set algorithm.kind="$name" "$@" > "$table" ||
        fail 1 "the run of $name failed"
}

compressed=(--set compressor.kind=rand-k --set compressor.ratio=0.1)
run soba
run c-soba "${compressed[@]}"
run cm-soba "${compressed[@]}" --set algorithm.theta=0.1
run ef-soba "${compressed[@]}" --set algorithm.theta=0.1

say "report"
PYTHONPATH=analysis "$python" -m sobaya_analysis "${algorithms[@]/#/$out/}" -o "$out/report" \
    > "$table" || fail 1 "the report failed"

"$python" - "$out/report/summary.csv" <<'END'
import csv
import sys
from pathlib import Path

print("\nalgorithm   test accuracy    uploaded   times less      time")
with Path(sys.argv[1]).open() as file:
    for row in csv.DictReader(file):
        accuracy = 100 * float(row["final_test_accuracy"])
        megabytes = float(row["upload_bytes"]) / 1e6
        less = 1 / float(row["upload_ratio_to_soba"])
        seconds = float(row["wall_seconds"])
        print(
            f"{row['algorithm']:<12}{accuracy:>11.1f} %{megabytes:>9.0f} MB"
            f"{less:>13.2f}{seconds:>8.1f} s"
        )
END
cat <<END

Test accuracy is the mean of the last five evaluations. Runs and report took $SECONDS s.
Figures and tables: $root/$out/report/report.html
END
