# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables of run.sh
# A node is powered off in mid-run, and the job goes on on a spare one.

group_node() {
    if ! "$root/jobs/cluster/hosts-up.sh" 6 1gbit > hosts.said 2>&1; then
        say "node: skipped: $(tail -n 1 hosts.said)"
        return
    fi
    client=("$root/jobs/cluster/host-exec.sh" h0)
    # Slower than mpirun, as on real clusters.
    NODE_TIMEOUT=60 slurm_up 5 2 --on-hosts
    config node 12000 often
    check "power-off of another node than the first, by mpirun" node_lost mpirun
    check "power-off of the node of rank 0 and of the job script, by srun" node_lost srun
    slurm_down
    "$root/jobs/cluster/hosts-down.sh" > /dev/null
    # shellcheck disable=SC2034 # for `slurm` in common.sh
    client=()
}

# The hosts that a job runs on, its first one first.
hosts_of() { # JOB
    slurm scontrol show hostnames "$(field "$1" NodeList)"
}

node_lost() { # LAUNCHER
    local job out=node-$1 hosts victim start seconds
    job=$(SOBAYA_LAUNCHER=$1 submit --nodes=3 --ntasks=3 --ntasks-per-node=1 -- node.json --out "$out")
    await 90 has_checkpoint_after "$out" 200
    mapfile -t hosts < <(hosts_of "$job")
    victim=${hosts[0]}
    [[ $1 == srun ]] || victim=${hosts[1]}
    "$root/jobs/cluster/host-kill.sh" "$victim"
    start=$SECONDS
    await 300 is_second_part "$job"
    seconds=$((SECONDS - start))
    await_end 600 "$job" COMPLETED
    mapfile -t hosts < <(hosts_of "$job")
    [[ " ${hosts[*]} " != *" $victim "* ]] || wrong "it ran on the node that is off"
    equals_uncut "$out" node.json
    echo "$victim off; again on ${hosts[*]} after $seconds s, went on at $(resumed_at "$job"); equal"
}

is_second_part() { # JOB
    (($(parts "$1") == 2)) && is_in "$1" "RUNNING|COMPLETED"
}
