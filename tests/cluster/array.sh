# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables of run.sh
# The job array of a sweep whose last member needs more time than the limit gives.

group_array() {
    slurm_up 2 4
    config_for array 60
    config base 1
    printf '{ "name": "array", "base": "base.json", "ranks": 2, "grid": { "iterations": [1000, 1500, %s] } }\n' \
        "$(sed -n 's/.*"iterations": \([0-9]*\),/\1/p' array.json)" > sweep.json
    check "a sweep's array: the last task is requeued until done, the others run once" array_of_sweep
    check "the same sweep submitted again: nothing to do" finished_sweep
    slurm_down
}

array_of_sweep() {
    local job members task before
    SBATCH_TIMELIMIT=1 SBATCH_SIGNAL=B:USR1@20 SBATCH_MEM_PER_CPU=100M \
        "$program" sweep sweep.json --slurm --out array > array.submitted
    job=$(sed 's/.* //' array.submitted)
    mapfile -t members < <(sed -n 's/^ *"hash": "\(.*\)",\{0,1\}$/\1/p' array/sweep.json)
    for task in 0 1; do await_end 120 "${job}_$task" COMPLETED; done
    before=$(stat -c '%y %n' "array/${members[0]}"/* "array/${members[1]}"/*)
    await_end 600 "${job}_2" COMPLETED
    (($(parts "${job}_2") >= 2)) || wrong "the last task needed one part alone"
    for task in 0 1; do
        [[ $(parts "${job}_$task") == 1 ]] || wrong "task $task ran $(parts "${job}_$task") times"
    done
    [[ $before == "$(stat -c '%y %n' "array/${members[0]}"/* "array/${members[1]}"/*)" ]] || wrong "files of finished members have changed"
    for task in 0 1 2; do
        cp "array/${members[task]}/member.json" "member-$task.json"
        equals_uncut "array/${members[task]}" "member-$task.json"
    done
    echo "parts of tasks 0, 1, 2: $(parts "${job}_0"), $(parts "${job}_1"), $(parts "${job}_2"); equal"
}

finished_sweep() {
    [[ $("$program" sweep sweep.json --slurm --out array) == "every member is finished" ]] || wrong "tasks were submitted"
    "$program" sweep sweep.json status --out array | tail -n 1
}
