# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables of run.sh
# A job one of whose ranks is killed: it ends, and goes on when it is submitted again.

group_killed() {
    slurm_up 2 4
    config killed 12000 often
    check "kill -9 of a rank under srun, 2 nodes x 2 ranks" killed_job srun
    check "kill -9 of a rank under mpirun, 2 nodes x 2 ranks" killed_job mpirun
    slurm_down
}

killed_job() { # LAUNCHER
    local job out=killed-$1 options start seconds ranks code
    options=(--nodes=2 --ntasks=4 --ntasks-per-node=2 -- killed.json --out "$out")
    job=$(SOBAYA_LAUNCHER=$1 submit "${options[@]}")
    await 120 has_checkpoint_after "$out" 200
    mapfile -t ranks < <(processes_of "$out")
    kill -KILL "${ranks[$((RANDOM % ${#ranks[@]}))]}"
    start=$SECONDS
    await_end 60 "$job" FAILED
    await 10 none_left "$out"
    seconds=$((SECONDS - start))
    code=$(exit_code "$job")
    [[ $code != 0 && $(parts "$job") == 1 ]] || wrong "exit code $code, $(parts "$job") parts"
    job=$(SOBAYA_LAUNCHER=$1 submit "${options[@]}")
    await_end 900 "$job" COMPLETED
    [[ -n $(resumed_at "$job") ]] || wrong "it began anew"
    equals_uncut "$out" killed.json
    echo "exit code $code, nothing alive after $seconds s; submitted again it went on at $(resumed_at "$job"); equal"
}
