# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables of run.sh
# What the groups of checks have in common; run.sh sources it.
# `root`, `program` and `work` are its, and the current folder is `work`.

rows=() failed=0
# Ahead of commands of Slurm, where these must run on a host.
client=()

# Runs a check and writes its line: what it said last.
check() { # NAME COMMAND...
    local name=$1 status=0 seen result=holds start=$SECONDS log
    shift
    log=$work/${name//[^a-z0-9]/-}
    # Not as a condition, in which bash would go on after a command that fails.
    ("$@") > "$log.said" 2> "$log.wrong" < /dev/null &
    wait "$!" || status=$?
    seen=$(tail -n 1 -- "$log.said")
    if ((status != 0)); then
        result='**fails**'
        seen=$(tail -n 1 -- "$log.wrong")
        failed=$((failed + 1))
    fi
    rows+=("| $name | $result | $seen | $((SECONDS - start)) |")
    say "$result: $name ($seen; $((SECONDS - start)) s)"
}

wrong() { # MESSAGE...
    printf '%s\n' "$*" >&2
    exit 1
}

slurm() { ${client[@]+"${client[@]}"} "$@"; }

field() { # JOB NAME
    slurm scontrol show job -o "$1" | tr ' ' '\n' | sed -n "s/^$2=//p" | head -n 1
}
state() { field "$1" JobState; }
exit_code() { field "$1" ExitCode | cut -d : -f 1; }
parts() { echo $((1 + $(field "$1" Restarts))); }

# The output of a job, in all of its parts.
output() { # JOB
    cat -- "$(field "$1" StdOut)"
}

# The iterations at which the run went on in its parts.
resumed_at() { # JOB
    output "$1" | sed -n 's/^sobaya: note: resumed at iteration \([0-9]*\) .*/\1/p' | paste -sd ' '
}

# Waits for something to hold.
await() { # SECONDS COMMAND...
    local until=$((SECONDS + $1))
    shift
    while ! "$@" > /dev/null 2>&1; do
        ((SECONDS < until)) || wrong "waited in vain for: $*"
        sleep 0.2
    done
}

is_in() { # JOB STATE|STATE
    [[ "|$2|" == *"|$(state "$1")|"* ]]
}

# Waits for the end of a job, which must be of this kind.
await_end() { # SECONDS JOB STATE
    await "$1" is_in "$2" "COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL"
    is_in "$2" "$3" || wrong "job $2 is $(state "$2") with exit code $(exit_code "$2"): $(output "$2" | tail -n 3 | tr '\n' ' ')"
}

# Submits jobs/slurm.sbatch; prints the job's number.
submit() { # SBATCH-OPTIONS... -- ARGUMENTS...
    local options=()
    while [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    shift
    slurm sbatch --parsable --mem-per-cpu=100M "${options[@]}" "$root/jobs/slurm.sbatch" "$@"
}

# A config of a run of this many iterations: a quadratic of 8 workers, small enough to be quick and with
# a log that has something to compare. Often: a checkpoint every 200 iterations.
config() { # NAME ITERATIONS [often]
    local checkpoint='{}'
    [[ -z ${3-} ]] || checkpoint='{ "every_iterations": 200, "cost": 0.5 }'
    cat > "$1.json" <<END
{
  "name": "$1",
  "workers": 8,
  "iterations": $2,
  "problem": { "kind": "quadratic", "dim_upper": 40, "dim_lower": 60 },
  "algorithm": { "kind": "ef-soba", "alpha": 0.002, "beta": 0.01, "gamma": 0.01 },
  "compressor": { "kind": "rand-k", "ratio": 0.1 },
  "log": { "every": 100 },
  "checkpoint": $checkpoint
}
END
}

# The value of a key in a run's summary.
summary() { # FOLDER KEY
    sed -n "s/^ *\"$2\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}\$/\1/p" "$1/summary.json"
}

newest_checkpoint() { # FOLDER
    local newest
    newest=$(find "$1" -path '*/checkpoint-*/manifest.json' 2> /dev/null | sed 's/.*checkpoint-\([0-9]*\).*/\1/' | sort -n | tail -n 1)
    echo "${newest:-0}"
}
has_checkpoint_after() { # FOLDER ITERATION
    (($(newest_checkpoint "$1") > $2))
}

# The run is that of one process that was never stopped.
equals_uncut() { # FOLDER CONFIG
    local reference=uncut-${2%.json}
    [[ -e $reference/summary.json ]] || "$program" run "$2" --out "$reference" > /dev/null 2>&1
    [[ $(summary "$1" status) == completed ]] || wrong "$1 is $(summary "$1" status)"
    [[ $(summary "$1" state_hash) == "$(summary "$reference" state_hash)" ]] || wrong "$1: another hash"
    "$program" log diff "$reference" "$1" > "$1.diff" || wrong "$1: $(head -n 1 -- "$1.diff")"
    [[ ! -s $1.diff ]] || wrong "$1: $(head -n 1 -- "$1.diff")"
}

# Processes of this program that work in a folder.
processes_of() { # FOLDER
    local folder
    for folder in /proc/[0-9]*; do
        if [[ $(readlink -- "$folder/exe") == "$program" ]] &&
            { tr '\0' '\n' < "$folder/cmdline"; } 2> /dev/null | grep -qxF -- "$1"; then
            printf '%s\n' "${folder#/proc/}"
        fi
    done
}
none_left() { [[ -z $(processes_of "$1") ]]; }

slurm_up() { # NODES CPUS [--on-hosts]
    if ! "$root/jobs/cluster/slurm-up.sh" "$work/slurm" "$@" > /dev/null; then
        [[ $short == no ]] || fail 77 "skipped: a Slurm does not start here"
        fail 1 "a Slurm does not start here"
    fi
    # shellcheck source=/dev/null
    source "$work/slurm/env.sh"
}
slurm_down() { "$root/jobs/cluster/slurm-down.sh" "$work/slurm" > /dev/null; }
