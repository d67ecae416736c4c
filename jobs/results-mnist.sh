#!/usr/bin/env bash
# Compares the algorithms on the whole of MNIST; see usage() below.
set -euo pipefail

usage() {
    cat <<END
Usage: $me [--data DIR]

Runs six methods on MNIST with seeds 1, 2 and 3, on configs/mnist.json: soba;
c-soba, cm-soba and ef-soba with rand-k at 10 % on x, y and z; cm-soba and
ef-soba with rand-k at 8 % on x alone. Then it makes

  docs/results/mnist/      report.html, figures and summary.csv
  docs/results/mnist.md    the table: median and range over the seeds

The runs stand in runs/results-mnist/NAME-sSEED. Runs that are completed are
kept, so this can be stopped and started again; unfinished ones start over.

DIR holds the folder mnist (jobs/get-data.sh mnist DIR); if not given it is
\$SOBAYA_DATA, or ./data if that is not set either.

Environment:
  RANKS        number of MPI ranks, 1 to 8 (one a core if not set); the results
               do not depend on it
  SEEDS        seeds, separated by spaces, instead of 1 2 3
  ITERATIONS   iterations instead of those of the config. With this or SEEDS it
               is a trial: all its output goes to runs/results-mnist-trial,
               where the report is in report and the table in mnist.md

Exit status: 0 done, 1 a run or the report failed, 2 wrong arguments or
something is missing, 3 no data
END
}

# shellcheck source=jobs/prepare.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/prepare.sh"

data=${SOBAYA_DATA:-data}
while (($# > 0)); do
    case $1 in
        -h | --help)
            usage
            exit 0
            ;;
        --data)
            (($# > 1)) || fail 2 "--data needs a folder"
            data=$2
            shift
            ;;
        --data=*) data=${1#--data=} ;;
        *) fail 2 "unknown argument $1 (see $me --help)" ;;
    esac
    shift
done
[[ -d $data/mnist ]] || fail 3 "there is no folder $data/mnist; fill it by: jobs/get-data.sh mnist $data"
SOBAYA_DATA=$(cd -- "$data" && pwd)
export SOBAYA_DATA

cd -- "$root"
out=runs/results-mnist
report=docs/results/mnist
if [[ -n ${SEEDS-}${ITERATIONS-} ]]; then
    out=runs/results-mnist-trial
    report=$out/report
fi
read -r -a seeds <<< "${SEEDS:-1 2 3}"
iterations=()
[[ -z ${ITERATIONS-} ]] || iterations=(--set iterations="$ITERATIONS")

prepare requirements.txt
build
ranks=$(ranks_for 8)
mkdir -p -- "$out"
exec {lock}> "$out/lock"
if have flock; then flock -n "$lock" || fail 1 "another $me is at work in $out"; fi

# Whether a run is completed (0), is not (1), or is completed with another config (3), apart from
# the data set.
state() { # FOLDER WANTED_CONFIG
    "$python" - "$@" <<'END'
import json
import sys
from pathlib import Path

folder, wanted = Path(sys.argv[1]), json.JSONDecoder().raw_decode(sys.argv[2])[0]
try:
    config = json.loads((folder / "config.json").read_text())
    status = json.loads((folder / "summary.json").read_text())["status"]
    wanted["problem"]["dataset"] = config["problem"]["dataset"]
except (OSError, ValueError, KeyError):
    sys.exit(1)
if status != "completed":
    sys.exit(1)
sys.exit(0 if config == wanted else 3)
END
}

all10='{"kind":"rand-k","ratio":0.1}'
x8='{"x":{"kind":"rand-k","ratio":0.08},"y":{"kind":"identity"},"z":{"kind":"identity"}}'
folders=()

one() { # METHOD SEED
    local method=$1 seed=$2 folder=$out/$1-s$2 sets wanted status=0
    sets=(--set seed="$seed" --set name="mnist-$method-s$seed" --set algorithm.kind="${method%-x8}"
        ${iterations[@]+"${iterations[@]}"})
    case $method in
        cm-soba* | ef-soba*) sets+=(--set algorithm.theta=0.1) ;;
    esac
    case $method in
        soba) ;;
        *-x8) sets+=(--set compressor="$x8") ;;
        *) sets+=(--set compressor="$all10") ;;
    esac
    folders+=("$folder")
    # The small data set makes this quick; the one that is wanted is read by the run.
    wanted=$("$program" check configs/mnist.json "${sets[@]}" --set problem.dataset=mnist-small) ||
        fail "$?" "no run was started"
    state "$folder" "$wanted" || status=$?
    case $status in
        0)
            say "$folder is completed"
            return
            ;;
        1) ;;
        *) fail 1 "$folder holds a completed run of another config; move or remove it" ;;
    esac
    rm -rf -- "$folder"
    say "$folder on $ranks ranks"
    status=0
    launch "$ranks" "$program" run configs/mnist.json --out "$folder" "${sets[@]}" || status=$?
    case $status in
        0) ;;
        4) say "$folder diverged; it is counted as failed, and tried again next time" ;;
        *) fail 1 "$folder ended with exit status $status" ;;
    esac
}

for seed in "${seeds[@]}"; do
    for method in soba c-soba cm-soba ef-soba cm-soba-x8 ef-soba-x8; do
        one "$method" "$seed"
    done
done

mkdir -p -- "$(dirname -- "$report")"
PYTHONPATH=analysis "$python" -m sobaya_analysis "${folders[@]}" -o "$report" ||
    fail 1 "the report failed"

table=$(dirname -- "$report")/mnist.md
"$python" - "$report" "${folders[0]}/config.json" "jobs/$me" > "$table.new" <<'END'
import csv
import json
import sys
from pathlib import Path
from statistics import median

report, config, command = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()), sys.argv[3]
with (report / "summary.csv").open() as file:
    rows = list(csv.DictReader(file))
groups = {}
for row in rows:
    groups.setdefault((row["algorithm"], row["compressor"]), []).append(row)
seeds = ", ".join(dict.fromkeys(row["seed"] for row in rows))
programs = {f"{row['program_version']} (git {row['git_commit']})" for row in rows}
problem, algorithm = config["problem"], config["algorithm"]
print(f"""# MNIST: accuracy and bytes

    {command}

with `configs/mnist.json`: {problem["kind"]}, hidden {problem["hidden"]}, {config["workers"]} workers,
{config["partition"]["kind"]} {config["partition"]["concentration"]}, mini-batches of \
{problem["batch_lower"]}, {config["iterations"]:,} iterations, {config["precision"]}, step sizes \
alpha {algorithm["alpha"]},
beta {algorithm["beta"]}, gamma {algorithm["gamma"]}; theta 0.1 where there is one.
Seeds {seeds}; sobaya {", ".join(sorted(programs))}.

Test accuracy is the mean of a run's last five evaluations: median (lowest to highest) over the seeds.
Uploaded bytes are those of all workers in one run. Figures and all numbers:
[{report.name}/report.html]({report.name}/report.html), \
[{report.name}/summary.csv]({report.name}/summary.csv).

| algorithm | compressor | test accuracy [%] | uploaded [bytes] | times less than soba | runs |
| --- | --- | --- | ---: | ---: | --- |""")
for (algorithm, compressor), group in groups.items():
    accuracy = [100 * float(r["final_test_accuracy"]) for r in group if r["final_test_accuracy"]]
    done = sum(row["status"] == "completed" for row in group)
    share = [float(r["upload_ratio_to_soba"]) for r in group if r["upload_ratio_to_soba"]]
    cells = [
        algorithm,
        compressor,
        f"{median(accuracy):.2f} ({min(accuracy):.2f} to {max(accuracy):.2f})" if accuracy else "-",
        f"{median(int(row['upload_bytes']) for row in group):,.0f}",
        f"{1 / median(share):.2f}" if share else "-",
        f"{len(group)}" if done == len(group) else f"{done} of {len(group)} completed",
    ]
    print(f"| {' | '.join(cells)} |")
END
mv -- "$table.new" "$table"
say "table in $table"
