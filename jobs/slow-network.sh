#!/usr/bin/env bash
# Time to soba's accuracy on a slow network, by method; see usage() below.
set -euo pipefail

usage() {
    cat <<END
Usage: $me [--data DIR] [--trial]

Measures how long the variants in jobs/slow-network.json take on a slow network
to come within a point of soba's test accuracy, on configs/mnist.json. The
network is emulated on this machine: see jobs/cluster/hosts-up.sh for the rights
that this needs (root with CAP_NET_ADMIN and CAP_SYS_ADMIN). Other work on the
machine falsifies the times. Of each variant it makes

  local    all iterations on this machine alone, evaluated every 25: the
           iterations and bytes to the target. The network changes no bit of
           them, which is checked.
  short    $short iterations over the network, one rank a host: the time of one
  direct   up to the target over the network, if that takes at most 45 s

and then docs/results/slow-network.md with its picture (.png, .svg) and all
numbers (.json).

The runs stand in runs/slow-network/NAME/KIND. Runs that are completed are kept,
so this can be stopped and started again; unfinished ones start over, and in a
trial also those of other configs. The hosts are removed at the end, and also if
this is stopped.

DIR holds the folder mnist (jobs/get-data.sh mnist DIR); if not given it is
\$SOBAYA_DATA, or ./data if that is not set either.

With --trial, or with a variable below other than RANKS and SOBAYA, all goes to
runs/slow-network-trial, the page to runs/slow-network-trial/page. --trial takes
the data set that is built in, 300 local iterations and 40 short ones.

Environment:
  HOSTS        number of hosts and of ranks on them, 1 to 8 (default $default_hosts)
  RATE         rate of a host's link (default $default_rate)
  ITERATIONS   local iterations, instead of those of the config
  ONLY         a pattern of variants' names, such as 'ef21*'; soba's run by star
               and that for the ceiling are always made
  RANKS        MPI ranks of the local runs, 1 to 8 (one a core if not set)
  SOBAYA       the program, instead of building it

Exit status: 0 done, 1 a run or the page failed, 2 wrong arguments, the program
refuses a variant, or a right or program is missing, 3 no data
END
}

default_hosts=5
default_rate=100mbit
short=150
evaluate_every=25

# shellcheck source=jobs/prepare.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/prepare.sh"

data=${SOBAYA_DATA:-data}
trial=no
dataset=mnist
arguments=("$@")
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
        --trial) trial=yes ;;
        *) fail 2 "unknown argument $1 (see $me --help)" ;;
    esac
    shift
done

hosts=${HOSTS:-$default_hosts}
rate=${RATE:-$default_rate}
[[ $hosts =~ ^[1-8]$ ]] || fail 2 "HOSTS must be a number from 1 to 8, found '$hosts'"
options=(--evaluate-every "$evaluate_every")
if [[ $trial == yes ]]; then
    short=40
    dataset=mnist-small
    options+=(--dataset "$dataset" --iterations "${ITERATIONS:-300}")
else
    [[ -d $data/mnist ]] ||
        fail 3 "there is no folder $data/mnist; fill it by: jobs/get-data.sh mnist $data"
    SOBAYA_DATA=$(cd -- "$data" && pwd)
    export SOBAYA_DATA
    [[ -z ${ITERATIONS-} ]] || options+=(--iterations "$ITERATIONS")
fi

cd -- "$root"
out=runs/slow-network
page=docs/results
if [[ $trial == yes || -n ${HOSTS-}${RATE-}${ITERATIONS-}${ONLY-} ]]; then
    out=runs/slow-network-trial
    page=$out/page
fi

prepare requirements.txt
if [[ -n ${SOBAYA-} ]]; then program=$(realpath -- "$SOBAYA"); else build; fi
[[ -x $program ]] || fail 2 "there is no program $program"
ranks=$(ranks_for 8)
mkdir -p -- "$out"
exec {lock}> "$out/lock"
if have flock; then flock -n "$lock" || fail 1 "another $me is at work in $out"; fi

slow_network() { # COMMAND [ARGUMENTS...]
    PYTHONPATH=analysis "$python" -m sobaya_analysis.slow_network --only "${ONLY:-*}" "$@"
}

# --- hosts ----------------------------------------------------------------------------------------

# What is no part of a config, or is not compared, makes other folders.
network=$out/$hosts-$rate
[[ $trial == no ]] || network+=-small
export HOSTS_DIR=$root/$out/hosts
hosts_down() { jobs/cluster/hosts-down.sh > /dev/null; }
trap hosts_down EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# In the background, so that a signal is heeded at once; hosts_down ends what then still runs.
over_network() { # COMMAND...
    jobs/cluster/mpirun-hosts.sh "$hosts" "$@" < /dev/null {lock}>&- &
    wait "$!"
}
here() { launch "$ranks" "$@"; }

# --- runs -----------------------------------------------------------------------------------------

one() { # NAME KIND LAUNCHER [OPTIONS...]
    local name=$1 kind=$2 launcher=$3 folder=$network/$1/$2 config=$out/configs/$1.json
    local wanted status=0
    shift 3
    # The small data set makes this quick; the one that is wanted is read by the run.
    wanted=$("$program" check "$config" "$@" --set problem.dataset=mnist-small) ||
        fail 2 "the program refuses the variant $name"
    slow_network state "$folder" "$wanted" "$dataset" || status=$?
    case $status in
        0)
            say "$name, $kind: completed"
            return
            ;;
        10) ;;
        11) [[ $out == *-trial ]] || fail 1 "$folder holds a completed run of another config; move or remove it" ;;
        *) fail 1 "the state of $folder cannot be told" ;;
    esac
    rm -rf -- "$folder"
    mkdir -p -- "$(dirname -- "$folder")"
    say "$name, $kind"
    status=0
    "$launcher" "$program" run "$config" --out "$folder" "$@" > "$out/last-run.out" 2>&1 || status=$?
    case $status in
        0) ;;
        4) say "$name diverged" ;;
        *) fail 1 "$folder ended with exit status $status: $(tail -n 5 -- "$out/last-run.out")" ;;
    esac
}

# Over the network evaluations are left out but for the first and the last.
one_over_network() { # NAME KIND ITERATIONS
    one "$1" "$2" over_network --set iterations="$3" --set evaluate.every="$3"
}

mapfile -t names < <(slow_network configs "$out/configs" "${options[@]}")
((${#names[@]} > 0)) || fail 1 "the table jobs/slow-network.json cannot be used"
# Nothing is left of one that was killed.
hosts_down
jobs/cluster/hosts-up.sh "$hosts" "$rate" || fail 2 "the hosts cannot be made"

for name in "${names[@]}"; do
    [[ $name == dense-download ]] || one "$name" local here
done
for name in "${names[@]}"; do one_over_network "$name" short "$short"; done
quick=$(slow_network direct "$network") || fail 1 "the runs cannot be used"
while read -r name iterations; do
    # One more, since the last one ends in an evaluation.
    [[ -z $name ]] || one_over_network "$name" direct $((iterations + 1))
done <<< "$quick"

# --- page -----------------------------------------------------------------------------------------

command="jobs/$me${arguments[*]:+ ${arguments[*]}}"
slow_network page "$network" "$page" --rate "$rate" --by "$command" || fail 1 "the page failed"
say "page in $page/slow-network.md"
