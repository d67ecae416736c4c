#!/usr/bin/env bash
# Starts a private Slurm on this machine; see usage() below.
set -euo pipefail

default_timeout=10

usage() {
    cat <<END
Usage: $me FOLDER NODES CPUS [--on-hosts]

Starts a real Slurm of NODES nodes that claim CPUS cores each: munged, slurmctld
and a slurmd a node, with keys, logs, state and sockets in FOLDER, without
systemd, cgroups or a data base. Nothing of a Slurm that the machine has is used
or changed.

  jobs/cluster/slurm-up.sh /tmp/slurm 4 8
  . /tmp/slurm/env.sh                      where sbatch and the others find it
  jobs/cluster/slurm-down.sh /tmp/slurm    cancels all jobs, stops all daemons

The nodes are n0, n1, ... on this machine, each with a host name of its own. With
--on-hosts they are the hosts h1, h2, ... that hosts-up.sh made (HOSTS_DIR as
there), one more of which, h0, has the controller: commands of Slurm are then run
by host-exec.sh h0.

It must be run as root, and needs slurm-wlm and munge (Debian, Ubuntu: apt-get
install --no-install-recommends slurm-wlm munge).

Time limits are looked at every 30 s. A job that is requeued starts again after
6 s at the earliest.

Environment:
  NODE_TIMEOUT   seconds after which a node that does not answer is down, and its
                 jobs are requeued (default $default_timeout)

Exit status: 0 all nodes are idle, 1 something failed and nothing is left, 2
wrong arguments, or a right or program is missing, 3 FOLDER has a running Slurm
END
}

# shellcheck source=jobs/prepare.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../prepare.sh"
here=$root/jobs/cluster
case ${1-} in
    -h | --help)
        usage
        exit 0
        ;;
esac
(($# == 3)) || [[ $# == 4 && $4 == --on-hosts ]] ||
    fail 2 "give a folder, and the numbers of nodes and of their cores (see $me --help)"
nodes=$2 cpus=$3 on_hosts=${4-}
[[ $nodes =~ ^[1-9][0-9]?$ ]] || fail 2 "NODES must be a number from 1 to 99, found '$nodes'"
[[ $cpus =~ ^[1-9][0-9]{0,2}$ ]] || fail 2 "CPUS must be a number from 1 to 999, found '$cpus'"
[[ $(id -u) == 0 ]] || fail 2 "must be run as root: nodes have host names of their own"
for tool in munged slurmctld slurmd sbatch unshare; do
    have "$tool" || fail 2 "$tool is needed and is not on PATH (slurm-wlm, munge, util-linux)"
done

timeout=${NODE_TIMEOUT:-$default_timeout}
[[ $timeout =~ ^[1-9][0-9]{0,3}$ ]] || fail 2 "NODE_TIMEOUT must be a number of seconds, found '$timeout'"

mkdir -p -- "$1"
dir=$(cd -- "$1" && pwd)
for file in "$dir"/run/*.pid; do
    [[ ! -e $file ]] || ! kill -0 "$(< "$file")" 2> /dev/null ||
        fail 3 "$dir has a running Slurm; stop it by jobs/cluster/slurm-down.sh $dir"
done
# Former state would name a former cluster's jobs.
rm -rf -- "${dir:?}"/{etc,run,log,state,spool,tmp,munge}
mkdir -p -- "$dir"/{etc,run,log,state,spool,tmp,munge}
chmod 755 -- "$dir" "$dir"/*
chmod 700 -- "$dir/munge"

take_down() { "$here/slurm-down.sh" "$dir" > /dev/null 2>&1 || true; }
trap 'if (($? != 0)); then take_down; fi' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# --- configuration --------------------------------------------------------------------------------

# Several clusters may stand side by side; below the ports that are given to connections.
port=$((20000 + $$ % 120 * 100))
memory=$(($(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo) / 2))
names=() node_lines=
for ((k = 0; k < nodes; k++)); do
    if [[ -n $on_hosts ]]; then
        names+=("h$((k + 1))")
        address=$(awk -v host="h$((k + 1))" '$2 == host { print $1 }' "${HOSTS_DIR:-/tmp/sobaya-hosts}/hosts")
        [[ -n $address ]] || fail 2 "there is no host h$((k + 1)); make $((nodes + 1)) by hosts-up.sh"
    else
        names+=("n$k")
        address=127.0.0.1
    fi
    node_lines+="NodeName=${names[k]} NodeHostname=${names[k]} NodeAddr=$address Port=$((port + 1 + k))"
    node_lines+=" CPUs=$cpus RealMemory=$memory State=UNKNOWN"$'\n'
done
if [[ -n $on_hosts ]]; then
    controller="h0($(awk '$2 == "h0" { print $1 }' "${HOSTS_DIR:-/tmp/sobaya-hosts}/hosts"))"
    at_controller=("$here/host-exec.sh" h0)
else
    controller="$(hostname)(127.0.0.1)"
    at_controller=()
fi
printf '%s\n' "$on_hosts" > "$dir/etc/on-hosts"

# TmpFS of each node its own: two nodes would make the same PMIx folder there.
# cred_expire: a requeued job waits that long, 120 s unless told otherwise.
# config_overrides: nodes claim more cores than there are.
cat > "$dir/etc/slurm.conf" <<END
ClusterName=private
SlurmctldHost=$controller
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$dir/run/munge.sock,cred_expire=5
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool/%n
TmpFS=$dir/tmp/%n
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmdPidFile=$dir/run/slurmd-%n.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$dir/log/jobs.txt
SwitchType=switch/none
MpiDefault=pmix
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=2,batch_sched_delay=0,sched_min_interval=100000
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=$timeout
InactiveLimit=0
KillWait=5
MinJobAge=600
MessageTimeout=10
TCPTimeout=3
${node_lines}PartitionName=main Nodes=$(IFS=,; printf '%s' "${names[*]}") Default=YES MaxTime=INFINITE DefaultTime=10 State=UP
END
# No cgroup is used, but slurmd looks for some unless it is told which kind.
echo "CgroupPlugin=cgroup/v1" > "$dir/etc/cgroup.conf"
# Ranks share the machine's few cores: those that wait give way. Jobs run as root.
cat > "$dir/env.sh" <<END
export SLURM_CONF=$dir/etc/slurm.conf
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_mpi_yield_when_idle=1
END
# shellcheck source=/dev/null
source "$dir/env.sh"

# --- daemons --------------------------------------------------------------------------------------

started() { # NAME COMMAND...
    local name=$1
    shift
    "$@" < /dev/null > "$dir/log/$name.err" 2>&1 ||
        fail 1 "$name did not start: $(tail -n 5 -- "$dir/log/$name.err" "$dir/log/$name.log" 2> /dev/null)"
}

(umask 077 && head -c 1024 /dev/urandom > "$dir/munge/key")
# --force: the folder may lie in one that all may write to, such as /tmp.
started munged munged --force --key-file="$dir/munge/key" --socket="$dir/run/munge.sock" \
    --pid-file="$dir/run/munged.pid" --log-file="$dir/log/munged.log" \
    --seed-file="$dir/munge/seed" --num-threads=2
started slurmctld ${at_controller[@]+"${at_controller[@]}"} slurmctld -c
for name in "${names[@]}"; do
    mkdir -p -- "$dir/spool/$name" "$dir/tmp/$name"
    if [[ -n $on_hosts ]]; then
        started "slurmd-$name" "$here/host-exec.sh" "$name" slurmd -N "$name"
    else
        # Files in shared memory are named after the host: those of two nodes must not meet.
        # shellcheck disable=SC2016 # expanded in there
        started "slurmd-$name" unshare --uts bash -c 'hostname "$0" && exec slurmd -N "$0"' "$name"
    fi
done

found=
for ((tries = 0; tries < 300; tries++)); do
    found=$(${at_controller[@]+"${at_controller[@]}"} sinfo -h -o '%t %D' 2> /dev/null) || true
    [[ $found != "idle $nodes" ]] || break
    sleep 0.1
done
[[ $found == "idle $nodes" ]] || fail 1 "the nodes are not idle after 30 s but '$found': $(tail -n 5 -- "$dir/log/slurmctld.log")"
say "$nodes nodes of $cpus cores; source $dir/env.sh"
