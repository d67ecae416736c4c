#!/usr/bin/env bash
# Runs studies: tunes methods, compares them over seeds, and writes their pages; see usage() below.
set -euo pipefail

usage() {
    cat <<END
Usage: $me FOLDER [NAME...] [--data DIR] [--jobs N] [--check]

Runs the studies configs/FOLDER/NAME.json (docs/studies.md), all of the folder
if none is named: the sweep in which its methods are tuned, if it has one, then
the final one with what was best for each. Then it makes

  docs/results/FOLDER/NAME/    figures, tables, the final sweep with the chosen
                               step sizes; report.html if it is not too large
  docs/results/FOLDER/NAME.md  the page
  docs/results/FOLDER.md       the index

The runs stand in runs/FOLDER/NAME. What is finished is kept, so this can be
stopped and started again. All configs are checked before the first run.

Studies:
$(studies)

Options:
  --data DIR   holds the data sets' folders (jobs/get-data.sh mnist DIR); if not
               given it is \$SOBAYA_DATA, or ./data if that is not set either
  --jobs N     runs at a time; if not given, one a core
  --check      check the configs, say how many runs are finished, and run none

Environment:
  SOBAYA       the program, which is then not built
  SEEDS, METHODS, ITERATIONS, DATASET
               seeds, names of entries of the list (separated by spaces),
               iterations, and data set in place of MNIST. With any of them it
               is a trial: all its output goes to runs/FOLDER-trial, where the
               pages are in report
  TRIAL        if not empty, a trial of about a minute: of each axis the first
               and the last value, 2 seeds, 20 iterations, the small data set,
               as far as the others do not say else

Exit status: 0 done, 1 a run or a report failed, 2 wrong arguments or something
is missing, 3 no data, 75 stopped by a signal
END
}

# shellcheck source=jobs/prepare.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/prepare.sh"

studies() {
    local file
    for file in "$root"/configs/*/*.json; do
        grep -q '^  "final"' "$file" || continue
        printf '  %-28s %s\n' "$(basename -- "$(dirname -- "$file")") $(basename -- "$file" .json)" \
            "$(sed -n 's/^  "title" *: *"\(.*\)".*/\1/p' "$file")"
    done
}

words=() check_only='' data=${SOBAYA_DATA:-data} jobs=$(cores)
while (($# > 0)); do
    case $1 in
        -h | --help)
            usage
            exit 0
            ;;
        --data | --jobs)
            (($# > 1)) || fail 2 "$1 needs a value"
            if [[ $1 == --data ]]; then data=$2; else jobs=$2; fi
            shift
            ;;
        --data=*) data=${1#*=} ;;
        --jobs=*) jobs=${1#*=} ;;
        --check) check_only=yes ;;
        -*) fail 2 "unknown argument $1 (see $me --help)" ;;
        *) words+=("$1") ;;
    esac
    shift
done
((${#words[@]} > 0)) || fail 2 "which folder of studies? (see $me --help)"
[[ $jobs =~ ^[1-9][0-9]{0,3}$ ]] || fail 2 "--jobs must be a number of 1 or more, found '$jobs'"
folder=${words[0]} names=("${words[@]:1}")
[[ $folder =~ ^[a-z0-9-]+$ && -d $root/configs/$folder ]] ||
    fail 2 "there is no folder configs/$folder"
files=("$root/configs/$folder"/*.json)
if ((${#names[@]} == 0)); then
    for file in "${files[@]}"; do names+=("$(basename -- "$file" .json)"); done
fi
for name in "${names[@]}"; do
    [[ -f $root/configs/$folder/$name.json ]] ||
        fail 2 "there is no configs/$folder/$name.json; studies are:
$(studies)"
done
[[ ! -d $data ]] || data=$(cd -- "$data" && pwd)
export SOBAYA_DATA=$data
if [[ -n ${SOBAYA-} ]]; then
    [[ -f $SOBAYA && -x $SOBAYA ]] || fail 2 "SOBAYA=$SOBAYA is no program"
    program=$(cd -- "$(dirname -- "$SOBAYA")" && pwd)/$(basename -- "$SOBAYA")
fi

cd -- "$root"
out=runs/$folder
report=docs/results/$folder
smaller=()
if [[ -n ${SEEDS-}${METHODS-}${ITERATIONS-}${DATASET-}${TRIAL-} ]]; then
    out=runs/$folder-trial
    report=$out/report
    if [[ -n ${TRIAL-} ]]; then
        smaller+=(--ends-only)
        : "${SEEDS=1 2}" "${ITERATIONS=20}" "${DATASET=mnist-small}"
    fi
    read -r -a list <<< "${SEEDS-}"
    smaller+=(--seeds ${list[@]+"${list[@]}"})
    read -r -a list <<< "${METHODS-}"
    smaller+=(--methods ${list[@]+"${list[@]}"})
    smaller+=(${ITERATIONS:+--iterations "$ITERATIONS"} ${DATASET:+--dataset "$DATASET"})
fi

if [[ -n ${SOBAYA-} ]]; then
    prepare_python requirements.txt
else
    prepare requirements.txt
    build
fi
analysis() { # COMMAND NAME [ARGUMENTS...]
    local command=$1 file=configs/$folder/$2.json
    shift 2
    PYTHONPATH=analysis "$python" -m sobaya_analysis.study "$command" "$file" "$@" \
        ${smaller[@]+"${smaller[@]}"}
}
mkdir -p -- "$out"
exec {lock}> "$out/lock"
if have flock; then flock -n "$lock" || fail 1 "another $me is at work in $out"; fi

# --- checks ---------------------------------------------------------------------------------------

# Members and their states. What is tuned takes its first choice in the final sweep until it is chosen.
status_of() { # NAME STAGE
    "$program" sweep "$out/$1/plan/$2.json" --out "$out/$1/$2" status
}

declare -A tuned
for name in "${names[@]}"; do
    plan=$(analysis plan "$name" -o "$out/$name/plan") || fail 2 "no run was started"
    { read -r "tuned[$name]" && mapfile -t paths; } <<< "$plan"
    for stage in tune final; do
        [[ $stage == final || ${tuned[$name]} == yes ]] || continue
        status=$(status_of "$name" "$stage") ||
            fail 2 "$name: the sweep $stage is refused; no run was started"
        [[ -z $check_only ]] || say "$name, $stage: ${status##*$'\n'}"
    done
    for path in "${paths[@]}"; do
        [[ -n $check_only || -e $data/$path || ( $path == /* && -e $path ) ]] ||
            fail 3 "there is no $data/$path, which $name needs (jobs/get-data.sh fetches mnist and fashion-mnist)"
    done
done
[[ -z $check_only ]] || exit 0

# --- runs and pages -------------------------------------------------------------------------------

# Runs that diverge are results.
sweep() { # FILE OUT
    local status=0
    "$program" sweep "$1" --out "$2" --local "$jobs" || status=$?
    case $status in
        0 | 4) ;;
        75) fail 75 "stopped; the same command goes on" ;;
        *) fail 1 "the sweep in $2 ended with exit status $status" ;;
    esac
}

for name in "${names[@]}"; do
    work=$out/$name
    final=$work/plan/final.json
    options=()
    if [[ ${tuned[$name]} == yes ]]; then
        say "$name: tuning"
        sweep "$work/plan/tune.json" "$work/tune"
        analysis tune "$name" "$work/tune" -o "$work" || fail 1 "$name cannot be tuned"
        final=$work/final.json
        options=(--tuned "$work/tune")
    fi
    say "$name: final runs"
    sweep "$final" "$work/final"
    page=$(analysis report "$name" "$work/final" ${options[@]+"${options[@]}"} -o "$report" \
        --made-by "jobs/$me $folder $name") || fail 1 "the report of $name failed"
    say "$name: page in $page"
done
PYTHONPATH=analysis "$python" -m sobaya_analysis.study index "Studies: $folder" \
    "${files[@]}" -o "$report" || fail 1 "the index failed"
