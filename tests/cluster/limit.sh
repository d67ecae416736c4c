# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables of run.sh
# Jobs that need more time than their limit gives. Slurm looks at limits every 30 s.

limit_options=(--time=1 --signal=B:USR1@20 --nodes=1 --ntasks=2)

group_limit() {
    slurm_up 2 4
    config_for limit 90
    # Both at once, as most of it is waiting.
    local launcher
    for launcher in srun mpirun; do
        SOBAYA_LAUNCHER=$launcher submit "${limit_options[@]}" -- limit.json --out "limit-$launcher" > "limit-$launcher.job"
    done
    for launcher in srun mpirun; do
        check "requeued at its time limit until done, by $launcher" limited_job "$launcher"
    done
    slurm_down
}

# A config that takes 2 ranks at least so many seconds here.
config_for() { # NAME SECONDS
    config trial 4000
    slurm srun -N1 -n2 --mpi=pmix "$program" run trial.json --out trial > trial.said 2>&1
    config "$1" "$(awk -v wanted="$2" -v took="$(summary trial wall_seconds)" 'BEGIN { printf "%d", 4000 * wanted / took }')"
}

limited_job() { # LAUNCHER
    local job
    job=$(< "limit-$1.job")
    await_end 900 "$job" COMPLETED
    (($(parts "$job") >= 3)) || wrong "$(parts "$job") parts"
    equals_uncut "limit-$1" limit.json
    echo "$(parts "$job") parts of a minute at most, went on at $(resumed_at "$job") of $(summary "limit-$1" iterations); equal"
}
