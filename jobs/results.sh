#!/usr/bin/env bash
# Compares methods over seeds, as a study says, and writes its page; see usage() below.
set -euo pipefail

usage() {
    cat <<END
Usage: $me STUDY [--data DIR] [--check]

Runs every method of configs/studies/STUDY.json with every seed. Then it makes

  docs/results/STUDY/      report.html, figures and summary.csv
  docs/results/STUDY.md    the table: medians and ranges over the seeds

Studies:
$(studies)

The runs stand in runs/results-STUDY/METHOD-sSEED. Runs that are completed are
kept, so this can be stopped and started again; unfinished ones start over.
All configs are checked before the first run.

Options:
  --data DIR   holds the data set's folder (jobs/get-data.sh mnist DIR); if not
               given it is \$SOBAYA_DATA, or ./data if that is not set either
  --check      check the configs, show what each run sends, and run nothing

Environment:
  RANKS        number of MPI ranks, at most one a worker (one a core if not
               set); the results do not depend on it
  SOBAYA       the program, which is then not built
  SEEDS, METHODS, ITERATIONS, DATASET
               seeds and names of methods (separated by spaces), iterations and
               data set instead of those of the study. With any of them it is a
               trial: all its output goes to runs/results-STUDY-trial, where
               the page is in report

Exit status: 0 done, 1 a run or the report failed, 2 wrong arguments or
something is missing, 3 no data
END
}

# shellcheck source=jobs/prepare.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/prepare.sh"

studies() {
    local file
    for file in "$root"/configs/studies/*.json; do
        printf '  %-10s %s\n' "$(basename -- "$file" .json)" \
            "$(sed -n 's/^  "title" *: *"\(.*\)".*/\1/p' "$file")"
    done
}

study='' check_only='' data=${SOBAYA_DATA:-data}
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
        --check) check_only=yes ;;
        -*) fail 2 "unknown argument $1 (see $me --help)" ;;
        *)
            [[ -z $study ]] || fail 2 "one study at a time: $study or $1?"
            study=$1
            ;;
    esac
    shift
done
[[ -n $study ]] || fail 2 "which study? (see $me --help)"
file=configs/studies/$study.json
[[ -f $root/$file ]] || fail 2 "there is no $file; studies are:
$(studies)"
[[ ! -d $data ]] || data=$(cd -- "$data" && pwd)
export SOBAYA_DATA=$data
if [[ -n ${SOBAYA-} ]]; then
    [[ -f $SOBAYA && -x $SOBAYA ]] || fail 2 "SOBAYA=$SOBAYA is no program"
    program=$(cd -- "$(dirname -- "$SOBAYA")" && pwd)/$(basename -- "$SOBAYA")
fi

cd -- "$root"
out=runs/results-$study
report=docs/results
if [[ -n ${SEEDS-}${METHODS-}${ITERATIONS-}${DATASET-} ]]; then
    out=runs/results-$study-trial
    report=$out/report
fi
read -r -a seeds <<< "${SEEDS-}"
read -r -a methods <<< "${METHODS-}"
selection=(--seeds ${seeds[@]+"${seeds[@]}"} --methods ${methods[@]+"${methods[@]}"})

if [[ -n ${SOBAYA-} ]]; then
    prepare_python requirements.txt
else
    prepare requirements.txt
fi
analysis() { PYTHONPATH=analysis "$python" -m sobaya_analysis.study "$@"; }

plan=$(analysis plan "$file" "${selection[@]}" ${ITERATIONS:+--iterations "$ITERATIONS"} \
    ${DATASET:+--dataset "$DATASET"}) || fail 2 "no run was started"
[[ -n ${SOBAYA-} ]] || build

# Splits a line of the plan.
parse() { # LINE
    local fields field
    IFS=$'\t' read -r -a fields <<< "$1"
    name=${fields[0]} base=${fields[1]} workers=${fields[2]} dataset=${fields[3]}
    sets=()
    for field in "${fields[@]:4}"; do sets+=(--set "$field"); done
}

# The whole config of the run that was parsed, and its traffic. The small data set makes this
# quick; the one that is wanted is read by the run.
wanted() {
    local quick=()
    [[ $dataset == - ]] || quick=(--set problem.dataset=mnist-small)
    "$program" check "$base" "${sets[@]}" ${quick[@]+"${quick[@]}"}
}

one() {
    local folder=$out/$name config status=0 ranks
    config=$(wanted) || fail 2 "the config of $name is refused"
    analysis state "$folder" "$config" "$dataset" || status=$?
    case $status in
        0)
            say "$folder is completed"
            return
            ;;
        10) ;;
        11) fail 1 "$folder holds a completed run of another config; move or remove it" ;;
        *) fail 1 "the state of $folder is not known" ;;
    esac
    rm -rf -- "$folder"
    ranks=$(ranks_for "$workers")
    say "$folder on $ranks ranks"
    status=0
    launch "$ranks" "$program" run "$base" --out "$folder" "${sets[@]}" || status=$?
    case $status in
        0) ;;
        4) say "$folder diverged; it is counted as failed, and tried again next time" ;;
        *) fail 1 "$folder ended with exit status $status" ;;
    esac
}

traffic='s/^\(upload\|download\) a worker and iteration */\1 /p'
while IFS= read -r line; do
    parse "$line"
    checked=$(wanted) || fail 2 "the config of $name is refused; no run was started"
    if [[ -n $check_only ]]; then
        say "$name: $(sed -n "$traffic" <<< "$checked" | paste -s -d ';' -)"
    elif [[ $dataset != - && $dataset != mnist-small && ! -d $data/$dataset ]]; then
        fail 3 "there is no folder $data/$dataset; fill it by: jobs/get-data.sh $dataset $data"
    fi
done <<< "$plan"
[[ -z $check_only ]] || exit 0

mkdir -p -- "$out"
exec {lock}> "$out/lock"
if have flock; then flock -n "$lock" || fail 1 "another $me is at work in $out"; fi
while IFS= read -r line <&3; do
    parse "$line"
    one
done 3<<< "$plan"

page=$(analysis report "$file" "$out" "${selection[@]}" -o "$report" --made-by "jobs/$me $study") ||
    fail 1 "the report failed"
say "page in $page"
