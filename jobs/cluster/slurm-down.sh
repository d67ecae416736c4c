#!/usr/bin/env bash
# slurm-down.sh FOLDER   cancels all jobs of the Slurm that slurm-up.sh started in FOLDER and ends its
# daemons, and whatever its jobs have left. The folder with its logs is kept. Without a Slurm it does nothing.
set -euo pipefail

# shellcheck source=jobs/prepare.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../prepare.sh"
(($# == 1)) || fail 2 "give the folder of a private Slurm"
dir=$(cd -- "$1" 2> /dev/null && pwd) || dir=
if [[ ! -f $dir/etc/slurm.conf ]]; then
    say "there is no Slurm in $1"
    exit 0
fi
export SLURM_CONF=$dir/etc/slurm.conf
at_controller=()
[[ -z $(< "$dir/etc/on-hosts") ]] || at_controller=("$root/jobs/cluster/host-exec.sh" h0)
client() { timeout 5 ${at_controller[@]+"${at_controller[@]}"} "$@" 2> /dev/null; }

is_alive() { [[ -d /proc/$1 && $(awk '$1 == "State:" { print $2 }' "/proc/$1/status" 2> /dev/null) != [ZX] ]]; }

# A process may end, and its number be given to another, at any time: each is looked at again.
is_daemon() { # PROCESS
    is_alive "$1" && tr '\0' ' ' 2> /dev/null < "/proc/$1/cmdline" | grep -qE '^[^ ]*(munged|slurmctld|slurmd) '
}

# Processes of this Slurm's jobs, and the stepd that each step has, by their environment: that of a shell
# that has sourced env.sh has no job.
of_jobs() {
    local folder
    for folder in /proc/[0-9]*; do
        ! { tr '\0' '\n' < "$folder/environ"; } 2> /dev/null |
            awk -v conf="SLURM_CONF=$SLURM_CONF" -v name="$(cat -- "$folder/comm" 2> /dev/null)" '
                $0 == conf { ours = 1 }
                /^SLURM_JOB_ID=/ { job = 1 }
                END { exit !(ours && (job || name == "slurmstepd")) }' ||
            printf '%s\n' "${folder#/proc/}"
    done
}

wait_until() { # TENTHS COMMAND...
    local tenths=$1
    shift
    for ((; tenths > 0; tenths--)); do
        ! "$@" || return 0
        sleep 0.1
    done
    return 1
}

no_jobs() { [[ -z $(client squeue -h) ]]; }
if [[ -f $dir/run/slurmctld.pid ]] && is_daemon "$(< "$dir/run/slurmctld.pid")"; then
    for state in PENDING RUNNING SUSPENDED; do client scancel --state="$state" || true; done
    wait_until 100 no_jobs || true
fi

daemons=()
for file in "$dir"/run/slurmd-*.pid "$dir"/run/slurmctld.pid "$dir"/run/munged.pid; do
    [[ ! -s $file ]] || ! is_daemon "$(< "$file")" || daemons+=("$(< "$file")")
done
all_gone() {
    local id
    for id in ${daemons[@]+"${daemons[@]}"}; do ! is_daemon "$id" || return 1; done
}
signal_daemons() { # SIGNAL
    local id
    for id in ${daemons[@]+"${daemons[@]}"}; do ! is_daemon "$id" || kill -"$1" "$id" 2> /dev/null || true; done
}
signal_daemons TERM
wait_until 80 all_gone || signal_daemons KILL

# Until none is left: some may start others while they are being ended.
for ((tries = 0; tries < 50; tries++)); do
    mapfile -t left < <(of_jobs)
    ((${#left[@]} > 0)) || break
    kill -KILL "${left[@]}" 2> /dev/null || true
    sleep 0.1
done
rm -f -- "$dir"/run/*.pid "$dir"/run/munge.sock*
say "the Slurm in $dir is stopped"
