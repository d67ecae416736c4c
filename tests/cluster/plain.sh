# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables of run.sh
# Jobs that nothing happens to, and such as are wrong or told to stop.

group_plain() {
    slurm_up 2 4
    config plain 2000
    config long 20000000
    check "a job by srun, pmix, 2 nodes x 2 ranks" plain_job srun
    check "a job by mpirun, 2 nodes x 2 ranks" plain_job mpirun
    check "a wrong config: exit code 2, one message" wrong_job
    check "a STOP file: exit code 75, not requeued" stopped_job
    check "scancel: a checkpoint, not requeued; submitted again it goes on" cancelled_job
    slurm_down
}

plain_job() { # LAUNCHER
    local job
    job=$(SOBAYA_LAUNCHER=$1 submit --nodes=2 --ntasks=4 --ntasks-per-node=2 -- plain.json --out "plain-$1")
    await_end 300 "$job" COMPLETED
    [[ $(summary "plain-$1" ranks) == 4 ]] || wrong "$(summary "plain-$1" ranks) ranks"
    equals_uncut "plain-$1" plain.json
    echo "equal"
}

wrong_job() {
    local job messages
    job=$(submit --nodes=1 --ntasks=4 -- plain.json --set algorithm.alpha=-1 --out wrong)
    await_end 60 "$job" FAILED
    messages=$(output "$job" | grep -c '^sobaya: ')
    [[ $(exit_code "$job"),$messages == 2,1 ]] || wrong "exit code $(exit_code "$job"), $messages messages"
    echo "$(output "$job" | wc -l) lines with those of Slurm"
}

stopped_job() {
    local job
    job=$(submit --nodes=1 --ntasks=4 -- long.json --out stop)
    await 60 test -e stop/log.journal
    touch stop/STOP
    await_end 90 "$job" FAILED
    [[ $(exit_code "$job"),$(parts "$job") == 75,1 ]] || wrong "exit code $(exit_code "$job"), $(parts "$job") parts"
    output "$job" | grep -q "to go on: .*sbatch .* long.json --out stop" || wrong "no command to go on"
    echo "at iteration $(summary stop iterations): $(summary stop stop_reason)"
}

cancelled_job() {
    local job first
    job=$(submit --nodes=1 --ntasks=4 -- long.json --out cancel)
    await 60 test -e cancel/log.journal
    sleep 1
    slurm scancel "$job"
    await_end 60 "$job" CANCELLED
    await 10 none_left cancel
    first=$(newest_checkpoint cancel)
    ((first > 0)) || wrong "no checkpoint"
    job=$(submit --nodes=1 --ntasks=2 -- long.json --out cancel)
    await 60 resumes "$job"
    slurm scancel "$job"
    await_end 60 "$job" CANCELLED
    [[ $(resumed_at "$job") == "$first" ]] || wrong "it did not go on at $first but at $(resumed_at "$job")"
    echo "went on at $first"
}

resumes() { # JOB
    [[ -n $(resumed_at "$1") ]]
}
